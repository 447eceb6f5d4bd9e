import Fieldseal
import Foundation

/// What a path below `/{organization}/api/data/v9.x` names (OData 4.0 Part 2, section 4). Nothing is looked up but names.
enum ODataPath: Sendable {
    case serviceRoot
    case entitySet(EntityDefinition)
    case entity(EntityDefinition, id: UUID)
    /// A function or an action that belongs to no entity, with or without empty parentheses.
    case operation(String)

    /// - Parameter path: The part after the version, percent-encoded, such as `/mailboxes(…)`.
    /// - Throws: ``FieldsealError`` `.noResource` naming the segment that is unknown; `.badRequest` for a malformed one.
    init(_ path: Substring) throws(FieldsealError) {
        let segments = path.split(separator: "/", omittingEmptySubsequences: true)
        guard let first = segments.first else {
            self = .serviceRoot
            return
        }
        guard let segment = String(first).removingPercentEncoding else {
            throw FieldsealError(.badRequest, "The URL is not properly percent-encoded.")
        }
        guard segments.count == 1 else {
            throw FieldsealError(.notImplemented, "Paths below a record or a collection are not supported.")
        }
        let name = segment.prefix { $0 != "(" }
        let rest = segment.dropFirst(name.count)
        guard let entity = EntityCatalog.entity(set: String(name)) else {
            guard rest.isEmpty || rest == "()" else { throw Self.unknown(name) }
            self = .operation(String(name))
            return
        }
        if rest.isEmpty {
            self = .entitySet(entity)
            return
        }
        guard rest.hasSuffix(")") else { throw FieldsealError(.badRequest, "A key has no closing parenthesis.") }
        self = .entity(entity, id: try Self.id(rest.dropFirst().dropLast(), of: entity))
    }

    /// Reads `ID` or `mailboxid=ID`.
    private static func id(_ key: Substring, of entity: EntityDefinition) throws(FieldsealError) -> UUID {
        var value = key
        if let equals = key.firstIndex(of: "=") {
            guard key[..<equals].lowercased() == entity.primaryID else {
                throw FieldsealError(
                    .notImplemented, "Alternate keys are not supported; address the record by its \(entity.primaryID).")
            }
            value = key[key.index(after: equals)...]
        }
        guard let id = UUID(uuidString: String(value)) else {
            throw FieldsealError(
                .badRequest, "The key of a \(entity.logicalName) is an id such as 00000000-0000-0000-0000-000000000000.")
        }
        return id
    }

    static func unknown(_ segment: some StringProtocol) -> FieldsealError {
        FieldsealError(.noResource, "There is no resource for the segment '\(segment.prefix(100))'.")
    }
}
