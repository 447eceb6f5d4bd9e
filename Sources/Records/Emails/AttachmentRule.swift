import Foundation
import Model

/// The rule for `body` of an attachment: the text must be the file in base64, with padding and without line breaks.
enum AttachmentRule {
    /// - Throws: ``FieldsealError`` for a text that is not base64, because recipients would get a different file, or no file.
    static func check(_ text: String) throws(FieldsealError) {
        guard Data(base64Encoded: text) != nil else {
            throw FieldsealError(
                .payloadDoesNotFit, "body of an attachment takes base64 with its padding, and without line breaks.")
        }
    }

    /// The size of the file in bytes; 0 if the text is not base64.
    static func size(of value: AttributeValue) -> AttributeValue {
        guard case .text(let text) = value, let bytes = Data(base64Encoded: text) else { return .int(0) }
        return .int(Int64(bytes.count))
    }
}
