import Foundation
import Model
import Records

/// A parsed path below `/{organization}/api/data/v9.x` (OData 4.0 Part 2, section 4). Parsing does not check whether the path's
/// records exist.
enum ODataPath: Sendable {
    case serviceRoot
    case metadata
    case description
    case batch
    case entitySet(EntityDefinition)
    case count(EntityDefinition)
    /// The addresses of a collection's records: the collection followed by `$ref`.
    case references(EntityDefinition)
    /// An action bound to a collection, without the namespace.
    case collectionAction(EntityDefinition, String)
    case entity(EntityDefinition, RecordKey)
    /// A function bound to a record, with its arguments.
    case boundFunction(EntityDefinition, RecordKey, String, arguments: String)
    case property(EntityDefinition, RecordKey, AttributeDefinition, isRaw: Bool)
    case navigation(Navigation)
    case association(AssociationPath)
    /// Metadata, such as `EntityDefinitions…`.
    case definitions([Segment])
    /// A function or an action without an entity, with its arguments.
    case operation(String, arguments: String)

    /// One part of a path: `name` or `name(key)`.
    struct Segment: Sendable, Equatable {
        let name: String
        let key: String?
    }

    /// A navigation property of a record.
    struct Navigation: Sendable {
        /// The record from which the path starts.
        let entity: EntityDefinition
        let key: RecordKey
        let relationship: EntityRelationship
        let isCollection: Bool
        /// Whether the path ends with `$ref`. Then the path names the link, not the record.
        let isReference: Bool
        let isCount: Bool
        /// The member of the collection that the path names; nil for the whole collection.
        let member: RecordKey?

        /// The refusal of a further step after a single-valued property.
        func refusal(ofStep segment: String) -> FieldsealError {
            let target = relationship.referenced
            guard
                target.attribute(named: segment) != nil || target.singleValued(segment) != nil || target.association(segment) != nil
                    || target.collectionValued(segment) != nil || segment == "$ref"
            else { return ODataPath.unknown(segment) }
            let property = relationship.navigationProperty
            return FieldsealError(
                .noResource,
                "\(segment.quotedForMessage) is a step behind \(property), and an address here goes one step from a record. Write "
                    + "$expand=\(property) with its options, or the address \(target.entitySetName)(ID)/\(segment).")
        }
    }

    /// The navigation property of a many-to-many relationship of a record.
    struct AssociationPath: Sendable {
        /// The record from which the path starts.
        let key: RecordKey
        let association: Association
        /// Whether the path ends with `$ref`. Then the path names the links, not the records.
        let isReference: Bool
        let isCount: Bool
        /// The member of the collection that the path names; nil for the whole collection.
        let member: RecordKey?
    }

    static let namespace = "Microsoft.Dynamics.CRM."

    /// - Parameter path: The part after the version, percent-encoded, such as `/mailboxes(…)`.
    /// - Throws: ``FieldsealError`` `.noResource` naming the unknown segment; `.badRequest` for a malformed segment.
    init(_ path: Substring) throws(FieldsealError) {
        var segments = try Self.segments(path)
        guard !segments.isEmpty else {
            self = .serviceRoot
            return
        }
        let first = segments.removeFirst()
        switch (first.name, first.key) {
        case ("$metadata", nil): self = .metadata
        case ("$openapi", nil), ("openapi.json", nil): self = .description
        case ("$batch", nil): self = .batch
        case ("EntityDefinitions", _), ("RelationshipDefinitions", _), ("GlobalOptionSetDefinitions", _):
            self = .definitions([first] + segments)
            return
        default:
            guard let entity = EntityCatalog.entity(set: first.name) else {
                self = .operation(first.name.strippingNamespace, arguments: first.key ?? "")
                break
            }
            guard let key = first.key else {
                self = try Self.collection(entity, &segments)
                break
            }
            self = try Self.record(entity, try RecordKey(key, of: entity), &segments)
        }
        guard let next = segments.first else { return }
        // Reports the first unknown segment, because it is probably the mistyped segment.
        try requireKnown()
        if case .navigation(let navigation) = self, !navigation.isCollection, !navigation.isReference {
            throw navigation.refusal(ofStep: next.name)
        }
        throw Self.unknown(next.name)
    }

    private static func collection(_ entity: EntityDefinition, _ segments: inout [Segment]) throws(FieldsealError) -> ODataPath {
        guard let next = segments.first else { return .entitySet(entity) }
        segments.removeFirst()
        if next.name == "$count", next.key == nil { return .count(entity) }
        if next.name == "$ref", next.key == nil { return .references(entity) }
        if next.name == namespace + entity.logicalName {
            guard let key = next.key else { return try collection(entity, &segments) }
            return try record(entity, try RecordKey(key, of: entity), &segments)
        }
        guard next.name.hasPrefix(namespace) else { throw unknown(next.name) }
        return .collectionAction(entity, next.name.strippingNamespace)
    }

    private static func record(
        _ entity: EntityDefinition,
        _ key: RecordKey,
        _ segments: inout [Segment]
    ) throws(FieldsealError) -> ODataPath {
        guard let next = segments.first else { return .entity(entity, key) }
        segments.removeFirst()
        if next.name == namespace + entity.logicalName, next.key == nil { return try record(entity, key, &segments) }
        if next.name.hasPrefix(namespace) {
            return .boundFunction(entity, key, next.name.strippingNamespace, arguments: next.key ?? "")
        }
        if let association = entity.association(next.name) { return try Self.association(association, key, next, &segments) }
        let single = entity.singleValued(next.name)
        if let relationship = single ?? entity.collectionValued(next.name) {
            let member: RecordKey? = if let text = next.key { try RecordKey(text, of: relationship.referencing) } else { nil }
            guard single == nil || member == nil else { throw unknown(next.name) }
            let suffix = segments.first?.name
            if member != nil { try requireReference(suffix, next.name, relationship.referencing) }
            if suffix == "$ref" || suffix == "$count" && single == nil { segments.removeFirst() }
            return .navigation(
                Navigation(
                    entity: entity, key: key, relationship: relationship, isCollection: single == nil,
                    isReference: suffix == "$ref",
                    isCount: suffix == "$count", member: member))
        }
        guard let attribute = entity.attributes.first(where: { $0.propertyName == next.name || $0.logicalName == next.name }),
            next.key == nil, attribute.validFor.contains(.read) || attribute.isEncrypted
        else { throw unknown(next.name) }
        let isRaw = segments.first?.name == "$value"
        if isRaw { segments.removeFirst() }
        return .property(entity, key, attribute, isRaw: isRaw)
    }

    private static func association(
        _ association: Association, _ key: RecordKey, _ segment: Segment, _ segments: inout [Segment]
    ) throws(FieldsealError) -> ODataPath {
        let member: RecordKey? = if let text = segment.key { try RecordKey(text, of: association.other) } else { nil }
        let suffix = segments.first?.name
        if member != nil { try requireReference(suffix, segment.name, association.other) }
        if suffix == "$ref" || suffix == "$count" { segments.removeFirst() }
        return .association(
            AssociationPath(
                key: key, association: association, isReference: suffix == "$ref", isCount: suffix == "$count", member: member))
    }

    /// Refuses a path to a member of a collection if `$ref` is missing, because such a path can name only the link.
    private static func requireReference(_ suffix: String?, _ property: String, _ entity: EntityDefinition) throws(FieldsealError) {
        guard suffix != "$ref" else { return }
        throw FieldsealError(
            .noResource,
            "\(property)(ID) has no address of its own. The record is at \(entity.entitySetName)(ID), the link at \(property)(ID)/$ref."
        )
    }

    /// Splits at slashes outside of quotes, decodes each part, and separates its key.
    private static func segments(_ path: Substring) throws(FieldsealError) -> [Segment] {
        var isQuoted = false
        let parts = path.utf8.split { byte in
            if byte == UInt8(ascii: "'") { isQuoted.toggle() }
            return byte == UInt8(ascii: "/") && !isQuoted
        }
        var segments: [Segment] = []
        for part in parts {
            guard let text = Substring(part).percentDecoded() else {
                throw FieldsealError(.badRequest, "The URL is not properly percent-encoded.")
            }
            guard let open = text.utf8.firstIndex(of: UInt8(ascii: "(")) else {
                segments.append(Segment(name: text, key: nil))
                continue
            }
            guard text.utf8.last == UInt8(ascii: ")") else {
                throw FieldsealError(.badRequest, "A key has no closing parenthesis.")
            }
            let key = text.utf8[text.utf8.index(after: open)...].dropLast()
            segments.append(Segment(name: String(text[..<open]), key: String(Substring(key))))
        }
        return segments
    }

    static func unknown(_ segment: some StringProtocol) -> FieldsealError {
        FieldsealError(.noResource, "There is no resource for the segment '\(segment.prefix(100))'.")
    }
}

extension String {
    /// The name without the namespace of Dataverse's operations.
    var strippingNamespace: String { hasPrefix(ODataPath.namespace) ? String(dropFirst(ODataPath.namespace.count)) : self }
}
