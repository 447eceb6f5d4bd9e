import Foundation
import Model

/// A form with files: `multipart/form-data` (RFC 7578).
struct MultipartForm {
    /// The fields. If a field occurs twice, its last value is used.
    private(set) var fields: [String: String] = [:]
    private(set) var files: [UploadedFile] = []
    /// The names of files that were not read to their end.
    private(set) var lostFiles: [String] = []

    private static let lineBreak = Data([13, 10])
    private static let headerEnd = Data([13, 10, 13, 10])

    /// The boundary of a content type; nil for another type.
    static func boundary(_ contentType: String?) -> String? {
        guard let contentType, contentType.lowercased().hasPrefix("multipart/form-data") else { return nil }
        for part in contentType.split(separator: ";").dropFirst() {
            let pair = part.trimmingCharacters(in: .whitespaces).split(separator: "=", maxSplits: 1)
            guard pair.count == 2, pair[0].lowercased() == "boundary" else { continue }
            let text = pair[1].trimmingCharacters(in: CharacterSet(charactersIn: "\""))
            return (1...70).contains(text.utf8.count) ? text : nil
        }
        return nil
    }

    /// Reads a body, or the beginning of a body whose rest was not kept.
    ///
    /// - Parameter isWhole: Whether the body is complete. If the body is not complete, files may be missing, but no fields are
    ///   missing: a page sends its fields first.
    /// - Throws: ``FieldsealError`` for a form that can't be read whole, because leaving a part out would lose typed values.
    init(_ body: Data, boundary: String, fieldLimit: Int, isWhole: Bool) throws(FieldsealError) {
        let delimiter = Data("--\(boundary)".utf8)
        let between = Self.lineBreak + delimiter
        guard var end = body.range(of: delimiter, in: body.startIndex..<body.endIndex)?.upperBound else { throw Self.unreadable }
        var count = 0
        while body[end...].starts(with: Self.lineBreak) {
            let start = end + Self.lineBreak.count
            guard let head = body.range(of: Self.headerEnd, in: start..<body.endIndex) else { break }
            count += 1
            guard count <= fieldLimit else {
                throw FieldsealError(.badRequest, "The form has too many fields. Nothing was saved.")
            }
            let next = body.range(of: between, in: head.lowerBound..<body.endIndex)
            try add(body[start..<head.lowerBound], next.map { body[min(head.upperBound, $0.lowerBound)..<$0.lowerBound] })
            guard let next else {
                try Self.check(isWhole)
                return
            }
            end = next.upperBound
        }
        if !body[end...].starts(with: Data("--".utf8)) { try Self.check(isWhole) }
    }

    private static let unreadable = FieldsealError(.badRequest, "The form can't be read. Nothing was saved.")

    private static func check(_ isWhole: Bool) throws(FieldsealError) { if isWhole { throw unreadable } }

    /// - Parameter content: The part's content; nil if the part is cut off.
    private mutating func add(_ head: Data, _ content: Data?) throws(FieldsealError) {
        var (disposition, type) = ("", "")
        for line in String(decoding: head, as: UTF8.self).components(separatedBy: "\r\n") {
            let pair = line.split(separator: ":", maxSplits: 1)
            guard pair.count == 2 else { continue }
            let value = pair[1].trimmingCharacters(in: .whitespaces)
            switch pair[0].lowercased() {
            case "content-disposition": disposition = value
            case "content-type": type = value
            default: break
            }
        }
        guard let name = Self.parameter("name", disposition) else { throw Self.unreadable }
        if let file = Self.parameter("filename", disposition) {
            // An empty name means that the person chose no file in this field.
            if file.isEmpty { return }
            guard let content else { return lostFiles.append(file) }
            files.append(UploadedFile(name: file, type: type, bytes: Array(content)))
            return
        }
        guard let content else { return }
        guard let text = String(validating: content, as: UTF8.self) else {
            throw FieldsealError(.badRequest, "The form is not in UTF-8. Nothing was saved.")
        }
        guard !text.utf8.contains(0), !name.utf8.contains(0) else {
            throw FieldsealError(.invalidArgument, "\(name) can't hold the character U+0000. Nothing was saved.")
        }
        fields[name] = text
    }

    /// A parameter of a part's disposition. Browsers encode `"` and line breaks in it with percent signs, and nothing else
    /// (HTML Standard, section 4.10.21.8).
    private static func parameter(_ name: String, _ disposition: String) -> String? {
        guard let start = disposition.range(of: "; \(name)=\"") else { return nil }
        let rest = disposition[start.upperBound...]
        guard let end = rest.firstIndex(of: "\"") else { return nil }
        return String(rest[..<end]).replacing("%22", with: "\"").replacing("%0D", with: "\r").replacing("%0A", with: "\n")
    }
}
