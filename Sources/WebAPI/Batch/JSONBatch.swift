import Foundation
import HTTPTypes
import JSON
import Model

/// Parses JSON batches (OData JSON Format 4.01, section 19).
enum JSONBatch {
    static func parse(_ body: [UInt8]) throws(FieldsealError) -> [BatchPart] {
        let value: JSONValue
        do { value = try JSONParser.parse(body) } catch {
            throw FieldsealError(.payloadDoesNotFit, "The batch is not JSON: \(error).")
        }
        guard case .object(let members) = value, case .array(let requests)? = value["requests"] else {
            throw FieldsealError(.payloadDoesNotFit, "The batch must be {\"requests\": […]}.")
        }
        if let unknown = members.first(where: { $0.name != "requests" && !$0.name.hasPrefix("@") }) {
            throw FieldsealError(.payloadDoesNotFit, "The member \(unknown.name.quotedForMessage) of a batch is not supported.")
        }
        guard requests.count <= APILimits.bulkCount else {
            throw FieldsealError(.badRequest, "A batch has more than \(APILimits.bulkCount) requests. Divide it.")
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
                throw FieldsealError(
                    .badRequest, "A request depends on \(id.quotedForMessage), and no earlier request has this id.")
            }
            guard let id = item.id, ids.insert(id).inserted else {
                throw FieldsealError(.badRequest, "Two requests of the batch have the id \((item.id ?? "").quotedForMessage).")
            }
            guard let name = item.group else {
                parts.append(.request(item))
                continue
            }
            guard !closed.contains(name) else {
                throw FieldsealError(.badRequest, "The requests of an atomicityGroup must follow each other.")
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
        else {
            throw FieldsealError(
                .payloadDoesNotFit, "A request of a batch must have an id, a method and a url, each of them a text.")
        }
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
        default: throw FieldsealError(.payloadDoesNotFit, "The atomicityGroup of a request in a batch must be a text.")
        }
        switch request["dependsOn"] {
        case nil, .null: break
        case .array(let values) where values.allSatisfy({ $0.string != nil }): item.dependsOn = values.compactMap(\.string)
        default: throw FieldsealError(.payloadDoesNotFit, "dependsOn must be a list of ids.")
        }
        return item
    }

    private static func headers(_ value: JSONValue?) throws(FieldsealError) -> HTTPFields {
        guard let value, value != .null else { return [:] }
        guard case .object(let members) = value, members.count <= 50 else {
            throw FieldsealError(
                .payloadDoesNotFit, "The headers of a request in a batch must be an object with at most 50 members.")
        }
        var headers: HTTPFields = [:]
        for member in members {
            guard let name = HTTPField.Name(member.name), let value = member.value.string else {
                throw FieldsealError(.payloadDoesNotFit, "The headers of a request in a batch must be texts.")
            }
            headers.append(HTTPField(name: name, value: value))
        }
        return headers
    }
}
