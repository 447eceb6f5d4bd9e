import Fieldseal
import Foundation
import HTTPTypes

// Batches: several requests in one (OData 4.0 Part 1, section 11.7).
extension DataAPI {
    func batch(_ request: APIRequest) async throws -> APIAnswer {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        let type = request.headers[.contentType] ?? ""
        let isJSON = type.lowercased().hasPrefix("application/json")
        let parts: [BatchPart]
        if isJSON {
            parts = try JSONBatch.parse(request.body)
        } else {
            guard let boundary = MultipartBatch.contentBoundary(type) else {
                throw FieldsealError(.badRequest, "A batch is multipart/mixed with a boundary, or application/json.")
            }
            parts = try MultipartBatch.parse(request.body, boundary: boundary)
        }
        var run = BatchRun(api: self, continuesOnError: request.preferences.continuesOnError)
        for part in parts {
            guard try await run.add(part) else { break }
        }
        return isJSON ? run.json() : run.multipart()
    }
}

/// A batch under way: the answers so far, and what their ids stand for.
private struct BatchRun {
    let api: DataAPI
    let continuesOnError: Bool
    private var answers: [(isSet: Bool, items: [(id: String?, answer: APIAnswer)])] = []
    /// The addresses of records that requests with an id made or named.
    private var addresses: [String: String] = [:]

    init(api: DataAPI, continuesOnError: Bool) {
        self.api = api
        self.continuesOnError = continuesOnError
    }

    /// - Returns: Whether the batch goes on.
    mutating func add(_ part: BatchPart) async throws -> Bool {
        switch part {
        case .request(let item):
            let answer = await answer(item)
            answers.append((false, [(item.id, answer)]))
            return continuesOnError || answer.status.code < 400
        case .changeSet(let items):
            do {
                answers.append((true, try await changes(items)))
                return true
            } catch {
                // One answer for all of them: nothing was changed.
                answers.append((false, [(nil, APIAnswer.answer(to: error).answer)]))
                return continuesOnError
            }
        }
    }

    private mutating func answer(_ item: BatchItem) async -> APIAnswer {
        do {
            let request = try request(item)
            guard request.path != "/$batch" else { throw FieldsealError(.badRequest, "A batch can't hold a batch.") }
            let answer = try await api.answer(request)
            if let id = item.id { addresses[id] = answer.headers[.odataEntityID] ?? "\(api.serviceRoot)\(request.path)" }
            return answer
        } catch {
            return APIAnswer.answer(to: error).answer
        }
    }

    /// Runs a change set as one transaction.
    private mutating func changes(_ items: [BatchItem]) async throws -> [(id: String?, answer: APIAnswer)] {
        var requests: [(item: BatchItem, request: APIRequest, write: RecordWrite, entity: EntityDefinition)] = []
        for item in items {
            let request = try request(item)
            let (write, entity, address) = try self.write(request)
            if let id = item.id {
                guard addresses.updateValue(address, forKey: id) == nil else {
                    throw FieldsealError(.badRequest, "Two requests of the batch have the Content-ID \(id.prefix(50)).")
                }
            }
            requests.append((item, request, write, entity))
        }
        let outcomes = try await api.session.write(requests.map(\.write))
        var answers: [(id: String?, answer: APIAnswer)] = []
        for (outcome, (item, request, write, entity)) in zip(outcomes, requests) {
            if case .delete = write {
                answers.append((item.id, APIAnswer.noContent()))
            } else {
                answers.append(
                    (item.id, try await api.written(entity, outcome, try ODataQuery(request.query, for: entity), request)))
            }
        }
        return answers
    }

    /// The write that a request of a change set stands for, and the address of its record.
    private func write(_ request: APIRequest) throws -> (RecordWrite, EntityDefinition, address: String) {
        switch (try ODataPath(Substring(request.path)), request.method) {
        case (.entitySet(let entity), .post):
            let members = try request.members()
            let named = members.first { $0.name.lowercased() == entity.primaryID }?.value.string.flatMap { UUID(text: $0) }
            // Chosen now, so that later requests of the set can refer to it.
            let id = named ?? UUID()
            return (.create(entity, id: id, members), entity, "\(api.serviceRoot)/\(entity.entitySetName)(\(id.text))")
        case (.entity(let entity, let key), .patch), (.entity(let entity, let key), .put):
            return (.upsert(entity, key, try request.members(), try request.condition()), entity, api.serviceRoot + request.path)
        case (.entity(let entity, let key), .delete):
            return (.delete(entity, key, try request.condition()), entity, api.serviceRoot + request.path)
        case (.property(let entity, let key, let attribute, isRaw: false), .put):
            guard let value = try request.members().first(where: { $0.name == "value" })?.value else {
                throw FieldsealError(.payloadDoesNotFit, "The body of a property is {\"value\": …}.")
            }
            return (.upsert(entity, key, [.init(attribute.logicalName, value)], .mustExist), entity, api.serviceRoot + request.path)
        case (.property(let entity, let key, let attribute, isRaw: false), .delete):
            return (.upsert(entity, key, [.init(attribute.logicalName, .null)], .mustExist), entity, api.serviceRoot + request.path)
        default:
            throw FieldsealError(.badRequest, "A change set takes creates, updates, upserts and deletes of records.")
        }
    }

    /// Resolves the URL, which may be absolute, relative to the service or its host, or an earlier request's id.
    private func request(_ item: BatchItem) throws(FieldsealError) -> APIRequest {
        guard let method = HTTPRequest.Method(rawValue: item.method) else {
            throw FieldsealError(.badRequest, "A request of the batch has a malformed method.")
        }
        var url = item.url
        if url.hasPrefix("$"), !url.hasPrefix("$metadata") {
            let id = String(url.dropFirst().prefix { $0 != "/" && $0 != "?" })
            guard let address = addresses[id] else {
                throw FieldsealError(.badRequest, "The batch refers to $\(id.prefix(50)), and no earlier request has this id.")
            }
            url = address + url.dropFirst(id.count + 1)
        }
        let host = api.serviceRoot.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
        let rootPath = host.count > 3 ? "/\(host[3])" : ""
        let path: String
        if url.lowercased().hasPrefix(api.serviceRoot.lowercased()) {
            path = String(url.dropFirst(api.serviceRoot.count))
        } else if url.hasPrefix(rootPath + "/") || url == rootPath {
            path = String(url.dropFirst(rootPath.count))
        } else if url.contains("://") || url.hasPrefix("/api/") || url.hasPrefix("/\(api.session.organization.name)/api/") {
            // Another address of the organization: what stands behind the version counts.
            guard let version = url.firstRange(of: /\/api\/data\/v9\.[012]/) else { throw ODataPath.unknown(url) }
            path = String(url[version.upperBound...])
        } else {
            path = url.hasPrefix("/") ? url : "/\(url)"
        }
        let parts = path.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        return APIRequest(
            method: method, path: Self.encoded(String(parts[0])), query: parts.count > 1 ? Self.encoded(String(parts[1])) : nil,
            headers: item.headers, body: try resolved(item.body))
    }

    /// Percent-encodes what is not: URLs in a batch are often written raw.
    private static func encoded(_ text: String) -> String {
        text.removingPercentEncoding == nil || text.contains("%") == false
            ? text.replacing("%", with: "%25").replacing("+", with: "%2B") : text
    }

    /// Puts addresses in the place of `"$ID"` in the values of bindings.
    private func resolved(_ body: [UInt8]) throws(FieldsealError) -> [UInt8] {
        guard !addresses.isEmpty, body.contains(UInt8(ascii: "$")), case .object(let members)? = try? JSONParser.parse(body) else {
            return body
        }
        return JSONValue.object(
            members.map { member in
                guard member.name.hasSuffix("@odata.bind") || member.name == "@odata.id", let text = member.value.string,
                    text.hasPrefix("$"),
                    let address = addresses[String(text.dropFirst())]
                else { return member }
                return .init(member.name, .string(address))
            }
        ).utf8
    }

    // MARK: Answers

    func json() -> APIAnswer {
        var responses: [JSONValue] = []
        for (_, items) in answers {
            for (id, answer) in items {
                var members: [JSONValue.Member] = []
                if let id { members.append(.init("id", .string(id))) }
                members.append(.init("status", .integer(Int64(answer.status.code))))
                members.append(
                    .init("headers", .object(answer.headers.map { .init($0.name.rawName.lowercased(), .string($0.value)) })))
                if !answer.body.isEmpty {
                    members.append(
                        .init("body", (try? JSONParser.parse(answer.body)) ?? .string(String(decoding: answer.body, as: UTF8.self)))
                    )
                }
                responses.append(.object(members))
            }
        }
        return APIAnswer.json(["responses": .array(responses)])
    }

    func multipart() -> APIAnswer {
        let boundary = "batchresponse_\(UUID().text)"
        var body: [UInt8] = []
        func line(_ text: String) { body.append(contentsOf: (text + "\r\n").utf8) }
        for (isSet, items) in answers {
            line("--\(boundary)")
            guard isSet else {
                write(items[0], to: &body)
                continue
            }
            let inner = "changesetresponse_\(UUID().text)"
            line("Content-Type: multipart/mixed; boundary=\(inner)")
            line("")
            for item in items {
                line("--\(inner)")
                write(item, to: &body)
            }
            line("--\(inner)--")
        }
        line("--\(boundary)--")
        return APIAnswer(
            status: .ok, headers: [.contentType: "multipart/mixed; boundary=\(boundary); charset=utf-8"], body: body)
    }

    private func write(_ item: (id: String?, answer: APIAnswer), to body: inout [UInt8]) {
        func line(_ text: String) { body.append(contentsOf: (text + "\r\n").utf8) }
        line("Content-Type: application/http")
        line("Content-Transfer-Encoding: binary")
        if let id = item.id { line("Content-ID: \(id.filter { !$0.isNewline })") }
        line("")
        line("HTTP/1.1 \(item.answer.status.code) \(item.answer.status.reasonPhrase)")
        for field in item.answer.headers { line("\(field.name.rawName): \(field.value)") }
        line("OData-Version: 4.0")
        line("")
        body.append(contentsOf: item.answer.body.first == UInt8(ascii: "{") ? item.answer.body.asciiJSON : item.answer.body)
        line("")
    }
}

extension [UInt8] {
    /// JSON with everything beyond ASCII escaped: some clients split a batch's answer at Unicode's line separators.
    fileprivate var asciiJSON: [UInt8] {
        guard contains(where: { $0 >= 0x80 }) else { return self }
        var output: [UInt8] = []
        for scalar in String(decoding: self, as: UTF8.self).unicodeScalars {
            if scalar.isASCII {
                output.append(UInt8(scalar.value))
            } else {
                for unit in String(scalar).utf16 {
                    let digits = String(unit, radix: 16)
                    output.append(contentsOf: ("\\u" + String(repeating: "0", count: 4 - digits.count) + digits).utf8)
                }
            }
        }
        return output
    }
}
