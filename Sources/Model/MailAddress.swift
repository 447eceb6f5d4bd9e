import MailFormat

/// E-mail addresses as records hold them: what the service takes is what the router reads and sends.
package enum MailAddress {
    /// Whether a text is one address and nothing else, without anything that ends a line or a path in SMTP.
    package static func isOne(_ text: String) -> Bool { EmailAddress.isOne(text) }

    /// Whether a text names who sent a message: an address, or words such as `MAILER-DAEMON`.
    package static func isSender(_ text: String) -> Bool { isOne(text) || EmailAddress.isWords(text) }

    /// The forms in lower case by which an address is found: its domain with A-labels, and with U-labels.
    package static func forms(_ text: String) -> [String] { EmailAddress.forms(text) }
}

/// Media types of attachments, as records hold them.
package enum MailMediaType {
    /// Whether a text is a media type, with or without parameters.
    package static func isOne(_ text: String) -> Bool { MediaType(text) != nil }
}
