/// Why an e-mail was not sent.
package struct SendingFailure: Sendable {
    /// The reason, in the words of the router or of the mail server.
    package let text: String

    /// Whether a recipient may have received the e-mail.
    package var mayHaveArrived: Bool {
        [MailboxLeases.deliveryUnknownMessage, Self.partly].contains { text.hasPrefix($0) }
    }

    /// The beginning of the router's report of a message that only some recipients got.
    private static let partly = "The mail server took the message for "
}
