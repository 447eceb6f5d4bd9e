import Foundation

/// The files of a message that its record lacks. The router and the service both use ``keeps(_:limit:)`` to decide whether a file
/// is too large.
package struct LeftOutFiles: Sendable {
    /// A file's name, media type and size, which ``text`` shows.
    package struct File: Sendable {
        let name: String
        let type: String
        let bytes: Int

        package init(name: String, type: String, bytes: Int) { (self.name, self.type, self.bytes) = (name, type, bytes) }
    }

    private let files: [File]

    package init(_ files: [File]) { self.files = files }

    /// Whether an organization keeps a file of this many bytes.
    ///
    /// - Parameter limit: The organization's `maxuploadfilesize`.
    package static func keeps(_ bytes: Int, limit: Int) -> Bool { bytes <= limit }

    /// A text that lists the files for the reader of the record.
    package var text: String {
        let lines = files.prefix(100).map { file in
            "\(file.name), \(file.bytes) bytes\(file.type.isEmpty ? "" : ", ")\(file.type)\r\n"
        }
        let rest = files.count > lines.count ? "and \(files.count - lines.count) more\r\n" : ""
        return "Attachments that are too large for the record, and are left in the mailbox:\r\n\r\n\(lines.joined())\(rest)"
    }

    /// The text file that the record has in place of the files. Its contents are ``text``.
    package var attachment: IncomingDelivery.Attachment {
        let names = files.prefix(5).map(\.name).joined(separator: ", ")
        return .init(
            fileName: "attachments-left-out.txt", mimeType: "text/plain; charset=utf-8",
            body: Data(text.utf8).base64EncodedString(),
            note: "Too large and left out: \(names)\(files.count > 5 ? " and \(files.count - 5) more" : "").")
    }
}
