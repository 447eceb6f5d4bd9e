import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Batches: several requests in one HTTP request (OData 4.0 Part 1, section 11.7).
extension DataAPI {
    func batch(_ request: APIRequest) async throws -> APIResponse {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        let type = request.headers[.contentType] ?? ""
        let isJSON = type.lowercased().hasPrefix("application/json")
        let parts: [BatchPart]
        if isJSON {
            parts = try JSONBatch.parse(request.body)
        } else {
            guard let boundary = MultipartBatch.contentBoundary(type) else {
                throw FieldsealError(
                    .badRequest, "The Content-Type of a batch must be multipart/mixed with a boundary, or application/json.")
            }
            parts = try MultipartBatch.parse(request.body, boundary: boundary)
        }
        var api = self
        api.pause = nil
        var run = BatchRun(api: api, batch: request)
        for part in parts {
            guard try await run.add(part) else { break }
        }
        // Assembling a long response would block the event loop, so another thread does it.
        let finished = run
        guard run.size.isLarge else { return isJSON ? finished.json() : finished.multipart() }
        return try await BackgroundQueue.run { isJSON ? finished.json() : finished.multipart() }
    }
}

/// A running batch: the responses so far, and the addresses of records by the ids of requests.
private struct BatchRun {
    let api: DataAPI
    /// The request that contains the requests of the batch.
    let batch: APIRequest
    private var continuesOnError: Bool { batch.preferences.continuesOnError }
    private var answers: [(isSet: Bool, items: [(id: String?, answer: APIResponse)])] = []
    /// The addresses of records that requests with an id created or named. If several requests have the same id, the latest of
    /// these requests counts.
    private var addresses: [String: String] = [:]
    private(set) var size = BatchSize()
    /// The ids of requests, and the names of groups, that failed.
    private var failed: Set<String> = []

    init(api: DataAPI, batch: APIRequest) {
        self.api = api
        self.batch = batch
    }

    /// - Returns: Whether the batch continues.
    mutating func add(_ part: BatchPart) async throws -> Bool {
        switch part {
        case .request(let item):
            let answer = if let refusal = failedDependency(of: [item]) { refusal } else { await self.answer(item) }
            answers.append((false, [(item.id, answer)]))
            guard answer.status.code >= 400 else { return true }
            if let id = item.id { forget(id) }
            return continuesOnError
        case .changeSet(let items):
            if let answer = failedDependency(of: items) { return fail(items, with: answer) }
            do {
                answers.append((true, try await changes(items)))
                return true
            } catch {
                return fail(items, with: APIResponse.answer(to: error).answer)
            }
        }
    }

    /// Adds one response for a whole change set that failed. The change set has changed nothing.
    private mutating func fail(_ items: [BatchItem], with answer: APIResponse) -> Bool {
        // In JSON each response has the id of a request, so this response gets the id of the group's first request. In multipart
        // the response has no id.
        answers.append((false, [(items.first?.group == nil ? nil : items.first?.id, answer)]))
        for id in items.compactMap(\.id) + items.compactMap(\.group) { forget(id) }
        return continuesOnError
    }

    /// The response to a request that depends on a failed request (OData JSON Format 4.01, section 19.1.4).
    private func failedDependency(of items: [BatchItem]) -> APIResponse? {
        guard let id = items.lazy.flatMap(\.dependsOn).first(where: failed.contains) else { return nil }
        return APIResponse.error(
            FieldsealError(.badRequest, "The request depends on \(id.quotedForMessage), which failed. Nothing was done."),
            status: .init(code: 424, reasonPhrase: "Failed Dependency"))
    }

    private mutating func answer(_ item: BatchItem) async -> APIResponse {
        do {
            // Skip further reads if the client has disconnected.
            if item.method == "GET", api.peer?.isGone ?? false { throw CancellationError() }
            let request = try request(item)
            guard request.path != "/$batch" else { throw FieldsealError(.badRequest, "A batch can't hold a batch.") }
            let path = Result { try ODataPath(Substring(request.path)) }
            let user = try user(of: request)
            let mayAssume = user == nil && ((try? path.get()).map(DataAPI.mayAssume) ?? false)
            let answer = try await api.sessions.run(mayAssume: mayAssume, onBegin: { _ in }) { own in
                try await dataAPI(of: try await own.acting(for: user)).answer(request, at: path.get())
            }
            try size.add(answer, to: request, api.unread)
            if let id = item.id { know(id, at: answer.headers[.odataEntityID] ?? "\(api.serviceRoot)\(request.path)") }
            return answer
        } catch {
            return APIResponse.answer(to: error).answer
        }
    }

    /// The user in whose name a part runs. Without such a user in the part's headers, it is the user that the batch names.
    private func user(of part: APIRequest) throws -> ImpersonatedUser? {
        try RequestHeaders.impersonatedUser(part.headers) ?? api.user
    }

    private func dataAPI(of session: Session) -> DataAPI {
        var part = api
        part.session = session
        return part
    }

    /// Remembers the address of the record that the request with this id created or named. Later parts may refer to the address.
    private mutating func know(_ id: String, at address: String) {
        addresses[id] = address
        failed.remove(id)
    }

    /// Forgets the address of an id, because the newest request with the id failed. The record does not exist, or is not the record
    /// that the client means.
    private mutating func forget(_ id: String) {
        addresses[id] = nil
        failed.insert(id)
    }

    /// The address that an id refers to; nil for an id that no earlier request has.
    ///
    /// - Throws: ``FieldsealError`` `.badRequest` for the id of a request that failed.
    private func address(of id: String) throws(FieldsealError) -> String? {
        guard !failed.contains(id) else {
            throw FieldsealError(.badRequest, "The batch refers to $\(id.prefix(50)), which failed. Nothing was done.")
        }
        return addresses[id]
    }

    /// Whether no request so far has an id.
    private var knowsNoID: Bool { addresses.isEmpty && failed.isEmpty }

    /// Runs a change set as one transaction, with the rights that the client has when the transaction begins.
    private mutating func changes(_ items: [BatchItem]) async throws -> [(id: String?, answer: APIResponse)] {
        let sessions = api.sessions
        return try await sessions.run(mayAssume: false, onBegin: { _ in }) { own in try await changes(items, by: own) }
    }

    private mutating func changes(_ items: [BatchItem], by own: Session) async throws -> [(id: String?, answer: APIResponse)] {
        var sessions: [ImpersonatedUser?: Session] = [nil: own]
        func session(for user: ImpersonatedUser?) async throws -> Session {
            if let known = sessions[user] { return known }
            let begun = try await own.acting(for: user)
            sessions[user] = begun
            return begun
        }
        var parts: [(item: BatchItem, change: Change)] = []
        var writes: [(by: Session, write: RecordWrite)] = []
        var ids: Set<String> = []
        for item in items {
            let request = try request(item)
            let writer = try await session(for: try user(of: request))
            let change = try await dataAPI(of: writer).change(request)
            if let id = item.id {
                // A Content-ID is unique within its change set only: Microsoft's sample client numbers the requests of each change
                // set from 1.
                guard ids.insert(id).inserted else {
                    throw FieldsealError(.badRequest, "Two requests of the change set have the Content-ID \(id.prefix(50)).")
                }
                know(id, at: change.address)
            }
            parts.append((item, change))
            writes += change.writes.map { (by: writer, write: $0) }
        }
        let outcomes = try await session(for: api.user).write(writes)
        var answers: [(id: String?, answer: APIResponse)] = []
        var first = 0
        for (item, change) in parts {
            answers.append((item.id, try await change.response(Array(outcomes[first..<first + change.writes.count]))))
            first += change.writes.count
        }
        return answers
    }

    /// Makes the request that an item describes, and resolves its URL. The URL may be absolute, relative to the service or its
    /// host, or refer to an earlier request's id.
    private func request(_ item: BatchItem) throws(FieldsealError) -> APIRequest {
        try checkSender(item.headers)
        guard let method = HTTPRequest.Method(rawValue: item.method) else {
            throw FieldsealError(.badRequest, "A request of the batch has a malformed method.")
        }
        var url = item.url
        if url.hasPrefix("$"), !url.hasPrefix("$metadata"), !url.hasPrefix("$batch") {
            let id = String(url.dropFirst().prefix { $0 != "/" && $0 != "?" })
            guard let address = try address(of: id) else {
                throw FieldsealError(.badRequest, "The batch refers to $\(id.prefix(50)), and no earlier request has this id.")
            }
            url = address + url.dropFirst(id.count + 1)
        }
        guard url.utf8.count <= APILimits.partURLLength else {
            throw FieldsealError(
                .badRequest, "The URL of a request in the batch is longer than \(APILimits.partURLLength >> 10) KiB. Shorten it.")
        }
        url = try api.addresses.relative(url)
        let parts = (url.hasPrefix("/") ? url : "/\(url)").split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        return APIRequest(
            method: method, path: Self.encoded(String(parts[0])),
            query: parts.count > 1 ? try resolved(query: Self.encoded(String(parts[1]))) : nil,
            headers: item.headers, body: try resolved(item.body), addresses: api.addresses)
    }

    /// Refuses a part whose `Authorization` differs from the batch's, or whose `Host` is not an address of this service.
    private func checkSender(_ headers: HTTPFields) throws(FieldsealError) {
        for field in headers {
            switch field.name.canonicalName {
            case "authorization":
                guard field.value == batch.headers[.authorization] else {
                    throw FieldsealError(
                        .badRequest,
                        "A part of a batch is sent with the batch's own Authorization. Send it by itself, or name a user in MSCRMCallerID."
                    )
                }
            case "host":
                guard api.addresses.authorities.contains(field.value.trimmed.lowercased()) else {
                    throw FieldsealError(.badRequest, "The Host of a part of a batch is not this service.")
                }
            default: continue
            }
        }
    }

    /// Percent-encodes `%` in a text that is not percent-encoded. Clients often write texts unencoded in batches. The function
    /// does not change `+`, because `+` means a space in any query.
    private static func encoded(_ text: String) -> String {
        text.removingPercentEncoding == nil ? text.replacing("%", with: "%25") : text
    }

    /// Replaces `$ID` in the option `$id` by the address of the record that the request with this id created or named.
    private func resolved(query: String) throws(FieldsealError) -> String {
        guard !knowsNoID, query.contains(ascii: "id") else { return query }
        var options: [String] = []
        for option in query.split(separator: "&", omittingEmptySubsequences: false) {
            let pair = option.split(separator: "=", maxSplits: 1).map { $0.percentDecoded(isForm: true) ?? "" }
            if pair.count == 2, pair[0] == "$id", pair[1].hasPrefix("$"), let address = try address(of: String(pair[1].dropFirst()))
            {
                options.append("$id=\(address.percentEncoded)")
            } else {
                options.append(String(option))
            }
        }
        return options.joined(separator: "&")
    }

    /// Replaces `"$ID"` in the values of bindings and of `@odata.id` by addresses, also inside of other records.
    private func resolved(_ body: [UInt8]) throws(FieldsealError) -> [UInt8] {
        guard !knowsNoID, body.contains(UInt8(ascii: "$")), let value = try? JSONParser.parse(body) else { return body }
        return try resolved(value, isAddress: false).utf8
    }

    private func resolved(_ value: JSONValue, isAddress: Bool) throws(FieldsealError) -> JSONValue {
        switch value {
        case .object(let members):
            var resolvedMembers: [JSONValue.Member] = []
            for member in members {
                let isAddress = member.name.hasSuffix("@odata.bind") || member.name == "@odata.id"
                resolvedMembers.append(.init(member.name, try resolved(member.value, isAddress: isAddress)))
            }
            return .object(resolvedMembers)
        case .array(let values):
            var resolvedValues: [JSONValue] = []
            for value in values { resolvedValues.append(try resolved(value, isAddress: isAddress)) }
            return .array(resolvedValues)
        case .string(let text) where isAddress && (text.hasPrefix("$") || text.hasPrefix("/$")):
            return .string(try address(of: String(text.drop { $0 == "/" }.dropFirst())) ?? text)
        default: return value
        }
    }

    // MARK: Responses

    /// The status of the error that ended the batch. A batch that continues after errors always has the status 200.
    private var status: HTTPResponse.Status {
        guard !continuesOnError else { return .ok }
        return answers.flatMap { $0.items.map { $0.answer.status } }.first { $0.code >= 400 } ?? .ok
    }

    /// A response's body in a JSON batch: JSON as it is, a text as a string, and any other body in base64url (OData JSON Format
    /// 4.01, section 19.2).
    private static func body(of answer: APIResponse) -> JSONValue {
        let type = answer.headers[.contentType]?.lowercased() ?? ""
        if type.hasPrefix("application/json"), let value = try? JSONParser.parse(answer.body) { return value }
        let isText = type.hasPrefix("text/") || type.contains("json") || type.contains("xml")
        return .string(isText ? String(decoding: answer.body, as: UTF8.self) : Data(answer.body).base64URL)
    }

    func json() -> APIResponse {
        var responses: [JSONValue] = []
        for (_, items) in answers {
            for (id, answer) in items {
                var members: [JSONValue.Member] = []
                if let id { members.append(.init("id", .string(id))) }
                members.append(.init("status", .integer(Int64(answer.status.code))))
                members.append(
                    .init("headers", .object(answer.headers.map { .init($0.name.rawName.lowercased(), .string($0.value)) })))
                if !answer.body.isEmpty { members.append(.init("body", Self.body(of: answer))) }
                responses.append(.object(members))
            }
        }
        return APIResponse.json(["responses": .array(responses)], status: status)
    }

    func multipart() -> APIResponse {
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
        return APIResponse(
            status: status, headers: [.contentType: "multipart/mixed; boundary=\(boundary); charset=utf-8"], body: body)
    }

    private func write(_ item: (id: String?, answer: APIResponse), to body: inout [UInt8]) {
        func line(_ text: String) { body.append(contentsOf: (text + "\r\n").utf8) }
        line("Content-Type: application/http")
        line("Content-Transfer-Encoding: binary")
        if let id = item.id { line("Content-ID: \(id.filter { !$0.isNewline })") }
        line("")
        line("HTTP/1.1 \(item.answer.status.code) \(item.answer.status.reason)")
        for field in item.answer.headers { line("\(field.name.rawName): \(field.value)") }
        line("OData-Version: 4.0")
        line("")
        body.append(contentsOf: item.answer.body.first == UInt8(ascii: "{") ? item.answer.body.asciiJSON : item.answer.body)
        line("")
    }
}

extension [UInt8] {
    /// JSON with all characters beyond ASCII escaped. Some clients split a batch's response at Unicode's line separators.
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
