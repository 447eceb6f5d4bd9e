package import Model

/// The allowed values of `mimetype` of an e-mail or an attachment.
package enum MediaTypeRule {
    /// - Throws: ``FieldsealError`` for a text that is not a media type.
    package static func check(_ text: String) throws(FieldsealError) {
        guard text.utf16.count <= 256, MailMediaType.isOne(text) else {
            throw FieldsealError(
                .invalidArgument,
                "mimetype takes a media type of at most 256 characters, such as application/pdf or text/calendar; method=REQUEST.")
        }
    }
}
