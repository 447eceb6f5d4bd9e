import Foundation
import HTTPTypes
import JSON
import Model

/// Parses `multipart/mixed` batches (OData 4.0 Part 1, section 11.7; RFC 2046 section 5.1).
enum MultipartBatch {
    fileprivate static let cr = UInt8(ascii: "\r")
    fileprivate static let lf = UInt8(ascii: "\n")

    /// - Throws: ``FieldsealError`` `.badRequest` naming the malformed part.
    static func parse(_ body: [UInt8], boundary: String) throws(FieldsealError) -> [BatchPart] {
        var parts: [BatchPart] = []
        var count = 0
        for part in try split(body[...], boundary) {
            let (headers, rest) = try self.headers(part)
            if let nested = contentBoundary(headers[.contentType] ?? "") {
                let items = try split(rest, nested).map { (part) throws(FieldsealError) in try item(part) }
                count += items.count
                parts.append(.changeSet(items))
            } else {
                count += 1
                parts.append(.request(try item(part)))
            }
            guard count <= APILimits.bulkCount else {
                throw FieldsealError(.badRequest, "A batch has more than \(APILimits.bulkCount) requests. Divide it.")
            }
        }
        return parts
    }

    /// The boundary that a content type names; nil when it is not multipart.
    static func contentBoundary(_ type: String) -> String? {
        guard type.lowercased().hasPrefix("multipart/mixed") else { return nil }
        for parameter in type.split(separator: ";").dropFirst() {
            let pair = parameter.split(separator: "=", maxSplits: 1)
            guard pair.count == 2, pair[0].trimmingCharacters(in: .whitespaces).lowercased() == "boundary" else { continue }
            let value = pair[1].trimmingCharacters(in: .whitespaces).filter { $0 != "\"" }
            return (1...200).contains(value.utf8.count) ? value : nil
        }
        return nil
    }

    /// The bytes between delimiter lines. Bytes before the first and after the last delimiter are ignored.
    private static func split(_ bytes: ArraySlice<UInt8>, _ boundary: String) throws(FieldsealError) -> [ArraySlice<UInt8>] {
        let delimiter = Array("--\(boundary)".utf8)
        let closing = delimiter + Array("--".utf8)
        var parts: [ArraySlice<UInt8>] = []
        var partStart: Int?
        var index = bytes.startIndex
        while index < bytes.endIndex {
            let lineEnd = bytes[index...].firstIndex(of: lf) ?? bytes.endIndex
            // The test of the first byte is quick, and rules out most lines. Only the other lines are compared with the delimiter.
            guard bytes[index] == UInt8(ascii: "-"), bytes[index..<lineEnd].starts(with: delimiter) else {
                index = lineEnd + 1
                continue
            }
            var line = bytes[index..<lineEnd]
            while let last = line.last, last == cr || last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") { line.removeLast() }
            let isLast = line.elementsEqual(closing)
            if isLast || line.elementsEqual(delimiter) {
                if let start = partStart {
                    // The line break before a delimiter is a part of the delimiter.
                    var end = index
                    if end > start, bytes[end - 1] == lf { end -= 1 }
                    if end > start, bytes[end - 1] == cr { end -= 1 }
                    parts.append(bytes[start..<max(start, end)])
                }
                if isLast { return parts }
                partStart = min(lineEnd + 1, bytes.endIndex)
                guard parts.count <= APILimits.bulkCount else {
                    throw FieldsealError(.badRequest, "A batch has more than \(APILimits.bulkCount) requests. Divide it.")
                }
            }
            index = lineEnd + 1
        }
        throw FieldsealError(.badRequest, "The batch has no closing delimiter --BOUNDARY--.")
    }

    /// Removes and returns a header block. The block ends at an empty line or at the end of the bytes.
    private static func headers(_ bytes: ArraySlice<UInt8>) throws(FieldsealError) -> (HTTPFields, rest: ArraySlice<UInt8>) {
        var fields: HTTPFields = [:]
        var index = bytes.startIndex
        while index < bytes.endIndex {
            let lineEnd = bytes[index...].firstIndex(of: lf) ?? bytes.endIndex
            var line = bytes[index..<lineEnd]
            if line.last == cr { line.removeLast() }
            index = min(lineEnd + 1, bytes.endIndex)
            if line.isEmpty { return (fields, bytes[index...]) }
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")),
                let name = HTTPField.Name(String(decoding: line[..<colon], as: UTF8.self)), fields.count < 50
            else { throw FieldsealError(.badRequest, "A part of the batch has a malformed header.") }
            let value = String(decoding: line[(colon + 1)...], as: UTF8.self).trimmingCharacters(in: .whitespaces)
            fields.append(HTTPField(name: name, value: value))
        }
        return (fields, bytes[bytes.endIndex...])
    }

    private static func item(_ part: ArraySlice<UInt8>) throws(FieldsealError) -> BatchItem {
        let (mime, rest) = try headers(part)
        guard mime[.contentType]?.lowercased().hasPrefix("application/http") == true else {
            throw FieldsealError(.badRequest, "A part of the batch is neither application/http nor a change set.")
        }
        let lineEnd = rest.firstIndex(of: lf) ?? rest.endIndex
        let line = String(decoding: rest[rest.startIndex..<lineEnd], as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        // A URL in a part may contain unencoded spaces. So the method ends at the first space, and `HTTP/` follows the last one.
        guard let first = line.firstIndex(of: " "), let last = line.lastIndex(of: " "), first < last,
            line[line.index(after: last)...].hasPrefix("HTTP/")
        else { throw FieldsealError(.badRequest, "A part of the batch has no request line such as GET mailboxes HTTP/1.1.") }
        let (headers, body) = try headers(rest[min(lineEnd + 1, rest.endIndex)...])
        try checkLength(of: body, headers)
        return BatchItem(
            method: String(line[..<first]).uppercased(),
            url: line[line.index(after: first)..<last].trimmingCharacters(in: .whitespaces),
            headers: headers, body: Array(body), id: mime[.contentID] ?? headers[.contentID])
    }
}

extension MultipartBatch {
    /// Refuses a part whose declared length differs from its actual length, because such a part could be parsed in two ways. The
    /// declared length may include line breaks at the end of the part.
    fileprivate static func checkLength(of body: ArraySlice<UInt8>, _ headers: HTTPFields) throws(FieldsealError) {
        guard let text = headers[.contentLength] else { return }
        let content = body.count - body.reversed().prefix { $0 == lf || $0 == cr }.count
        guard let length = Int(text), (content...body.count + 2).contains(length) else {
            throw FieldsealError(
                .badRequest, "A part of the batch has \(content) bytes, and its Content-Length says \(text.prefix(20)).")
        }
    }
}
