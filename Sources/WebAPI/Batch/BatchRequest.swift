import Foundation
import HTTPTypes
import JSON
import Model

/// One part of a batch: a request, or a change set, of which all changes succeed or none.
enum BatchPart {
    case request(BatchItem)
    case changeSet([BatchItem])
}

/// A request in a batch, as the client wrote it.
struct BatchItem {
    var method: String
    var url: String
    var headers: HTTPFields
    var body: [UInt8]
    /// The id of the item, in its response and as `$ID` in the URLs and bodies of later ones.
    var id: String?
    /// The `atomicityGroup` of a request in JSON.
    var group: String?
    /// Earlier requests and groups that this request depends on.
    var dependsOn: [String] = []
}

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
                throw FieldsealError(.badRequest, "A batch may have \(APILimits.bulkCount) requests.")
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

    /// The bytes between delimiter lines. What is before the first and after the last is ignored.
    private static func split(_ bytes: ArraySlice<UInt8>, _ boundary: String) throws(FieldsealError) -> [ArraySlice<UInt8>] {
        let delimiter = Array("--\(boundary)".utf8)
        var parts: [ArraySlice<UInt8>] = []
        var partStart: Int?
        var index = bytes.startIndex
        while index < bytes.endIndex {
            let lineEnd = bytes[index...].firstIndex(of: lf) ?? bytes.endIndex
            var line = bytes[index..<lineEnd]
            while let last = line.last, last == cr || last == UInt8(ascii: " ") || last == UInt8(ascii: "\t") { line.removeLast() }
            let isLast = line.elementsEqual(delimiter + Array("--".utf8))
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
                    throw FieldsealError(.badRequest, "A batch may have \(APILimits.bulkCount) requests.")
                }
            }
            index = lineEnd + 1
        }
        throw FieldsealError(.badRequest, "The batch has no closing delimiter --BOUNDARY--.")
    }

    /// Removes and returns a header block. It ends at an empty line or at the end of the bytes.
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
        // URLs may contain spaces here, so only the first and the last one separate.
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
    /// Refuses a part whose declared length differs from its actual one, because it could be parsed in two ways. Line breaks at its
    /// end belong to the delimiter.
    fileprivate static func checkLength(of body: ArraySlice<UInt8>, _ headers: HTTPFields) throws(FieldsealError) {
        guard let text = headers[.contentLength] else { return }
        let content = body.count - body.reversed().prefix { $0 == lf || $0 == cr }.count
        guard let length = Int(text), (content...body.count + 2).contains(length) else {
            throw FieldsealError(
                .badRequest, "A part of the batch has \(content) bytes, and its Content-Length says \(text.prefix(20)).")
        }
    }
}

/// Parses JSON batches (OData JSON Format 4.01, section 19).
enum JSONBatch {
    static func parse(_ body: [UInt8]) throws(FieldsealError) -> [BatchPart] {
        let value: JSONValue
        do { value = try JSONParser.parse(body) } catch {
            throw FieldsealError(.payloadDoesNotFit, "The batch is not JSON: \(error).")
        }
        guard case .array(let requests)? = value["requests"] else {
            throw FieldsealError(.payloadDoesNotFit, "The batch is {\"requests\": […]}.")
        }
        guard requests.count <= APILimits.bulkCount else {
            throw FieldsealError(.badRequest, "A batch may have \(APILimits.bulkCount) requests.")
        }
        var parts: [BatchPart] = []
        var group: (name: String, items: [BatchItem])?
        // Ids of requests and names of groups that later requests may depend on.
        var ids: Set<String> = []
        var closed: Set<String> = []
        for request in requests {
            let item = try item(request)
            if let current = group, current.name != item.group {
                parts.append(.changeSet(current.items))
                closed.insert(current.name)
                group = nil
            }
            for id in item.dependsOn where !ids.contains(id) && !closed.contains(id) {
                throw FieldsealError(.badRequest, "A request depends on \(id.quotedForMessage), and none before it has this id.")
            }
            guard let id = item.id, ids.insert(id).inserted else {
                throw FieldsealError(.badRequest, "Two requests of the batch have the id \((item.id ?? "").quotedForMessage).")
            }
            guard let name = item.group else {
                parts.append(.request(item))
                continue
            }
            guard !closed.contains(name) else {
                throw FieldsealError(.badRequest, "The requests of an atomicityGroup follow each other.")
            }
            group = (name, (group?.items ?? []) + [item])
        }
        if let group { parts.append(.changeSet(group.items)) }
        return parts
    }

    /// The members of a request (OData JSON Format 4.01, section 19.1).
    private static let members: Set<String> = ["id", "method", "url", "headers", "body", "atomicityGroup", "dependsOn"]

    private static func item(_ request: JSONValue) throws(FieldsealError) -> BatchItem {
        guard case .object(let members) = request, let id = request["id"]?.string, let method = request["method"]?.string,
            let url = request["url"]?.string
        else { throw FieldsealError(.payloadDoesNotFit, "A request of a batch has an id, a method and a url.") }
        if let unknown = members.first(where: { !Self.members.contains($0.name) }) {
            throw FieldsealError(
                .payloadDoesNotFit, "The member \(unknown.name.quotedForMessage) of a request in a batch is not supported.")
        }
        var item = BatchItem(
            method: method.uppercased(), url: url, headers: try headers(request["headers"]),
            body: request["body"].map { $0 == .null ? [] : $0.utf8 } ?? [], id: id)
        guard item.body.isEmpty || !["GET", "HEAD"].contains(item.method) else {
            throw FieldsealError(.payloadDoesNotFit, "A request with the method \(item.method) has no body.")
        }
        switch request["atomicityGroup"] {
        case nil, .null: break
        case .string(let name): item.group = name
        default: throw FieldsealError(.payloadDoesNotFit, "The atomicityGroup of a request in a batch is a text.")
        }
        switch request["dependsOn"] {
        case nil, .null: break
        case .array(let values) where values.allSatisfy({ $0.string != nil }): item.dependsOn = values.compactMap(\.string)
        default: throw FieldsealError(.payloadDoesNotFit, "dependsOn is a list of ids.")
        }
        return item
    }

    private static func headers(_ value: JSONValue?) throws(FieldsealError) -> HTTPFields {
        guard let value, value != .null else { return [:] }
        guard case .object(let members) = value, members.count <= 50 else {
            throw FieldsealError(.payloadDoesNotFit, "The headers of a request in a batch are an object with at most 50 members.")
        }
        var headers: HTTPFields = [:]
        for member in members {
            guard let name = HTTPField.Name(member.name), let value = member.value.string else {
                throw FieldsealError(.payloadDoesNotFit, "The headers of a request in a batch are texts.")
            }
            headers.append(HTTPField(name: name, value: value))
        }
        return headers
    }
}
