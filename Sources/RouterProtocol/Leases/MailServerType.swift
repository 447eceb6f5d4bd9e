/// The values of `emailserverprofile.servertype`.
package enum MailServerType: Int, Sendable {
    /// An Exchange server, which the router uses by IMAP and SMTP.
    case exchange = 0
    case pop3 = 1
    case imap = 4
}
