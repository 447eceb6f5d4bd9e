import MailFormat

/// E-mail addresses in records. The rules are the same as the router's for reading and sending.
package enum EmailAddressRule {
    /// Whether a text is exactly one address, without characters that end a line or a path in SMTP.
    package static func isOne(_ text: String) -> Bool { EmailAddress.isOne(text) }

    /// Whether a text names a sender: an address, or words such as `MAILER-DAEMON`.
    package static func isSender(_ text: String) -> Bool { isOne(text) || EmailAddress.isWords(text) }

    /// The lower-case forms by which an address is found: with A-labels and with U-labels in its domain.
    package static func forms(_ text: String) -> [String] { EmailAddress.forms(text) }
}
