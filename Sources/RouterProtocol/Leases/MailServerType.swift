/// `emailserverprofile.servertype`.
package enum MailServerType: Int, Sendable {
    /// Reached by IMAP and SMTP.
    case exchange = 0
    case pop3 = 1
    case imap = 4
}
