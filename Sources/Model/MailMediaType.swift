import MailFormat

/// Media types of attachments in records.
package enum MailMediaType {
    /// Whether a text is a media type, with or without parameters.
    package static func isOne(_ text: String) -> Bool { MediaType(text) != nil }
}
