import Foundation
import JSON
import Model
import Records

/// The system query options of a request (OData 4.0 Part 1, section 11.2), parsed to a query whose names are not resolved yet.
struct ODataQuery: Sendable {
    private(set) var query = RecordQuery()
    private(set) var expansions: [Expansion] = []
    /// The media type that `$format` requests instead of `Accept`.
    private(set) var format: String?
    /// Options that are not part of the query, such as `$id`.
    private(set) var others: [String: String] = [:]
    /// The number of the page, from 1, if the client asks for a page by its number.
    private var pageNumber: Int?
    /// The original options without `$skiptoken`.
    private let original: [(name: String, value: String)]
    private let entity: EntityDefinition

    /// - Parameters:
    ///   - text: The URL's query, percent-encoded. `+` is a space, as in forms.
    ///   - entity: The entity that the query reads.
    ///   - kind: The kind of request, which determines the allowed options.
    /// - Throws: ``FieldsealError`` naming the option.
    init(_ text: String?, for entity: EntityDefinition, _ kind: QueryOptions.Kind) throws(FieldsealError) {
        let options = try Self.options(text)
        try QueryOptions.check(options, for: kind)
        for (name, value) in options where ["$filter", "$orderby", "$apply"].contains(name) {
            try Self.refuseEncrypted(value, name, entity)
        }
        original = options.filter { $0.name != "$skiptoken" }
        self.entity = entity
        var aliases: [String: String] = [:]
        for (name, value) in options where name.hasPrefix("@") { aliases[String(name.dropFirst())] = value }
        try Self.requireEachOnce(options)
        for (name, value) in options { try read(name, value, aliases) }
    }

    /// Refuses an option that occurs twice, because one of its values would be lost.
    static func requireEachOnce(_ options: [(name: String, value: String)]) throws(FieldsealError) {
        var names: Set<String> = []
        for (name, _) in options where !names.insert(name).inserted {
            throw FieldsealError(.queryDoesNotFit, "The query option '\(name.prefix(100))' is in the URL twice.")
        }
    }

    /// Parses the options of a request for one record. The results are cached, because clients repeat a few different texts.
    static func ofRecord(_ text: String?, of entity: EntityDefinition) throws(FieldsealError) -> ODataQuery {
        guard let text, text.utf8.count <= 512 else { return try ODataQuery(text, for: entity, .record) }
        return try known.value(of: [entity.logicalName, text]) { () throws(FieldsealError) in
            try ODataQuery(text, for: entity, .record)
        }
    }

    private static let known = BoundedCache<[String], ODataQuery>()

    private mutating func read(_ name: String, _ value: String, _ aliases: [String: String]) throws(FieldsealError) {
        switch name {
        case "$select": query.outputs = try Self.select(value)
        case "$filter": query.filter = try FilterParser.parse(value, aliases: aliases)
        case "$orderby": query.order = try Self.order(value)
        case "$top": query.top = try Self.number(value, name)
        case "$skip": query.offset = try Self.number(value, name)
        case "$count":
            guard ["true", "false"].contains(value) else { throw FieldsealError(.queryDoesNotFit, "$count takes true or false.") }
            query.countsRows = value == "true"
        case "$expand": expansions = try ExpandParser.parse(value, aliases: aliases)
        case "$apply": try ApplyParser.parse(value, of: entity, into: &query)
        case "$skiptoken":
            if let page = SkipToken.pageNumber(value) {
                pageNumber = page
            } else {
                query.after = try SkipToken.read(value, SkipToken.mark(of: entity, original))
            }
        case "$format":
            if value != "json" { format = value }
        default:
            others[name] = value
        }
    }

    /// The query with pages of this size. If the client asked for a page by its number, the query skips the pages before it.
    func paged(_ query: RecordQuery, size: Int) -> RecordQuery {
        var query = query
        query.pageSize = size
        guard let pageNumber else { return query }
        let before = (pageNumber - 1) * size
        query.offset += before
        query.top = query.top.map { max(0, $0 - before) }
        return query
    }

    /// The URL's query for the page after `token`.
    func next(_ token: RecordQuery.PageToken) -> String {
        (original + [(name: "$skiptoken", value: SkipToken.write(token, SkipToken.mark(of: entity, original)))])
            .map { "\($0.name.percentEncoded)=\($0.value.percentEncoded)" }.joined(separator: "&")
    }

    /// The decoded options in order.
    static func options(_ query: String?) throws(FieldsealError) -> [(name: String, value: String)] {
        var options: [(name: String, value: String)] = []
        for part in (query ?? "").split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = pair[0].percentDecoded(isForm: true),
                let value = (pair.count > 1 ? pair[1] : "").percentDecoded(isForm: true)
            else {
                throw FieldsealError(.badRequest, "The URL's query is not properly percent-encoded.")
            }
            options.append((name, value))
        }
        return options
    }

    private static func number(_ value: String, _ name: String) throws(FieldsealError) -> Int {
        guard let number = Int(value), number >= 0, number <= Int(Int32.max) else {
            throw FieldsealError(.queryDoesNotFit, "\(name) takes a number that is not negative.")
        }
        return number
    }

    /// Refuses an expression that names an encrypted attribute outside of a string literal, before any other error. ``QueryScope``
    /// refuses encrypted attributes of other entities.
    private static func refuseEncrypted(_ expression: String, _ option: String, _ entity: EntityDefinition) throws(FieldsealError) {
        let outsideLiterals = expression.split(separator: "'", omittingEmptySubsequences: false).enumerated()
            .filter { $0.offset % 2 == 0 }.map(\.element)
        let words = outsideLiterals.flatMap { $0.split { !($0.isLetter || $0.isNumber || $0 == "_") } }.map { $0.lowercased() }
        guard let attribute = entity.encryptedAttributes.first(where: { words.contains($0.logicalName) }) else { return }
        throw FieldsealError(
            .queryDoesNotFit,
            "\(attribute.logicalName) is encrypted, and encrypted attributes can't be searched or sorted: \(option) must not name it."
        )
    }

    static func select(_ value: String) throws(FieldsealError) -> [RecordQuery.Output] {
        var outputs: [RecordQuery.Output] = []
        var names: Set<String> = []
        for part in value.split(separator: ",", omittingEmptySubsequences: false) {
            let name = String(part.trimmed)
            if name == "*" { return [] }
            guard !name.isEmpty, !name.utf8.contains(where: { "/ ()".utf8.contains($0) }) else {
                throw FieldsealError(
                    .queryDoesNotFit, "$select takes the names of attributes. Attributes of related records come with $expand.")
            }
            if names.insert(name.lowercased()).inserted { outputs.append(.init(.column(.init(name)))) }
        }
        return outputs
    }

    static func order(_ value: String) throws(FieldsealError) -> [RecordQuery.Order] {
        var order: [RecordQuery.Order] = []
        for part in value.split(separator: ",", omittingEmptySubsequences: false) {
            let words = part.split(separator: " ")
            guard let path = words.first, words.count <= 2, words.count == 1 || ["asc", "desc"].contains(words[1].lowercased())
            else {
                throw FieldsealError(.queryDoesNotFit, "$orderby takes attributes, each followed by asc or desc or neither.")
            }
            var steps = path.split(separator: "/").map(String.init)
            guard let name = steps.popLast() else { throw FieldsealError(.queryDoesNotFit, "$orderby names no attribute.") }
            order.append(.init(.column(.init(name, path: steps)), descending: words.count == 2 && words[1].lowercased() == "desc"))
        }
        guard order.count <= 10 else { throw FieldsealError(.queryDoesNotFit, "$orderby takes at most 10 attributes.") }
        return order
    }
}

extension String {
    /// The text escaped for a URL's query: everything except RFC 3986's unreserved characters, `$` and `@`.
    var percentEncoded: String {
        addingPercentEncoding(withAllowedCharacters: Self.unreserved) ?? ""
    }

    private static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~$@")
}
