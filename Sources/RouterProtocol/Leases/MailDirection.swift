/// The direction of mail.
package enum MailDirection: String, Codable, Sendable {
    case incoming = "Incoming"
    case outgoing = "Outgoing"
}
