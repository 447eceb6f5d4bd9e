import Model
import Records

/// The results of a query as attributes of an `Entity`: their keys, and the positions of their values in a row.
struct ResultColumns: Sendable {
    /// A column of the result, as an attribute.
    struct Column: Sendable {
        let key: String
        /// The attribute and the entity of an aliased value; nil for an attribute of the query's entity under its own name.
        let alias: (attribute: String, entity: String)?
        /// The index of the value among the outputs.
        let place: Int
        /// The index of the referenced record's name.
        var namePlace: Int?
        /// The index of the referenced record's entity.
        var typePlace: Int?
    }

    let entity: EntityDefinition
    private(set) var columns: [Column] = []
    /// The requested lists of an e-mail's parties.
    private(set) var partyLists: [String] = []
    /// For a grouped query, the index of the record's id; nil if the query does not return the id.
    private(set) var idPlace: Int?

    private var seen: Set<String> = []

    /// What a row represents.
    private enum Grouping {
        /// Each row is a record.
        case none
        /// The query names no attribute to group by. There is one row for all records, or one for each set of equal records.
        case unnamed
        /// Each row represents the records that have the same values of the attributes to group by.
        case named
    }

    /// Prepares a query: removes outputs that are never returned, and adds outputs that an `Entity` needs.
    init(_ query: inout RecordQuery, of entity: EntityDefinition) throws(FieldsealError) {
        self.entity = entity
        let isGrouped = query.isGrouped
        let entities = Self.entities(of: query.links)
        var wanted = query.outputs
        if wanted.isEmpty {
            wanted = Self.readable(entity).map { RecordQuery.Output(.column(RecordQuery.Column($0))) }
            if entity.logicalName == EntityDefinition.email.logicalName, !isGrouped { partyLists = PartyLists.masks.map(\.name) }
        }
        var outputs: [RecordQuery.Output] = []
        let grouping: Grouping = !query.groups.isEmpty ? .named : isGrouped ? .unnamed : .none
        for output in wanted { add(output, entities, grouping, &outputs) }
        if !isGrouped, !seen.contains(entity.primaryID) {
            add(.init(.column(.init(entity.primaryID))), entities, .none, &outputs)
        }
        guard partyLists.isEmpty || !isGrouped else {
            throw FieldsealError(.queryDoesNotFit, "A distinct query can't return from, to, cc or bcc. Leave them out.")
        }
        query.outputs = outputs
    }

    /// The attributes that are returned if all are requested: all readable attributes, except names of referenced records.
    static func readable(_ entity: EntityDefinition) -> [String] {
        let attributes = entity.attributes.filter { attribute in
            attribute.validFor.contains(.read) && !attribute.isEncrypted && MetadataJSON.nameOf(attribute, entity) == nil
        }
        return attributes.map(\.logicalName)
    }

    /// The same columns without one attribute. The positions of the other columns in a row do not change.
    func without(_ key: String) -> ResultColumns {
        var others = self
        others.columns.removeAll { $0.key == key }
        return others
    }

    private static func entities(of links: [RecordQuery.Link]) -> [String: EntityDefinition] {
        var entities: [String: EntityDefinition] = [:]
        for link in links {
            if let alias = link.alias { entities[alias.lowercased()] = EntityCatalog.entity(link.entity) }
            entities.merge(self.entities(of: link.links)) { first, _ in first }
        }
        return entities
    }

    private mutating func add(
        _ output: RecordQuery.Output, _ entities: [String: EntityDefinition], _ grouping: Grouping,
        _ outputs: inout [RecordQuery.Output]
    ) {
        switch output.value {
        case .column(let column):
            let owner = column.alias.map { entities[$0.lowercased()] ?? entity } ?? entity
            if owner === entity, column.alias == nil, take(partyList: column.name) { return }
            guard let attribute = owner[column.name.lowercased()] else {
                // The attribute does not exist. Planning the query refuses it.
                outputs.append(output)
                return
            }
            // An encrypted attribute is never returned, whether it has a value or not.
            if attribute.isEncrypted, grouping != .named { return }
            let isOwn = column.alias == nil && output.name == nil && grouping != .named
            let key = output.name ?? (isOwn ? attribute.logicalName : column.name)
            guard seen.insert(key).inserted else { return }
            var added = Column(
                key: key, alias: isOwn ? nil : (attribute: attribute.logicalName, entity: owner.logicalName), place: outputs.count)
            if grouping != .none, isOwn, attribute.logicalName == entity.primaryID { idPlace = outputs.count }
            outputs.append(output)
            if attribute.type.isReference {
                addNames(of: attribute, owner, column.alias, grouping != .none, &added, &outputs)
            }
            columns.append(added)
        case .aggregate(_, let column):
            let owner = column?.alias.flatMap { entities[$0.lowercased()] } ?? entity
            columns.append(
                Column(
                    key: output.name ?? "aggregate\(columns.count + 1)",
                    alias: (attribute: column?.name ?? owner.primaryID, entity: owner.logicalName), place: outputs.count))
            outputs.append(output)
        case .part(_, let column):
            columns.append(
                Column(
                    key: output.name ?? column.name, alias: (attribute: column.name.lowercased(), entity: entity.logicalName),
                    place: outputs.count))
            outputs.append(output)
        }
    }

    private mutating func take(partyList name: String) -> Bool {
        let name = name.lowercased()
        guard entity.logicalName == EntityDefinition.email.logicalName, PartyLists.masks.contains(where: { $0.name == name })
        else { return false }
        if !partyLists.contains(name) { partyLists.append(name) }
        return true
    }

    /// Adds the name and the entity of a lookup's record.
    private func addNames(
        of attribute: AttributeDefinition, _ owner: EntityDefinition, _ alias: String?, _ isGrouped: Bool, _ column: inout Column,
        _ outputs: inout [RecordQuery.Output]
    ) {
        let key = column.key
        func output(_ name: String) -> RecordQuery.Output {
            let column = RecordQuery.Column(name, alias: alias)
            // Within a group, the name of a record may differ from row to row. The smallest name is returned.
            return isGrouped ? .hiddenMinimum(column, name: "\(key)@\(name)") : .hidden(column)
        }
        if let type = attribute.typeAttribute(in: owner) {
            column.typePlace = outputs.count
            outputs.append(output(type.logicalName))
        }
        if let name = owner["\(attribute.logicalName)name"] {
            column.namePlace = outputs.count
            outputs.append(output(name.logicalName))
        } else if attribute.isNamedByRecord(in: owner) {
            column.namePlace = outputs.count
            let read = RecordQuery.Column.name(of: attribute.logicalName, alias: alias)
            outputs.append(isGrouped ? .hiddenMinimum(read, name: "\(key)@name") : .hidden(read, name: "\(key)@name"))
        }
    }
}

extension AttributeDefinition {
    /// The attribute with the entity of the record that a lookup refers to, such as `owneridtype`; nil if the lookup refers to
    /// one entity only.
    func typeAttribute(in entity: EntityDefinition) -> AttributeDefinition? {
        guard type.targets.count > 1 else { return nil }
        let stem = logicalName.hasSuffix("id") ? String(logicalName.dropLast(2)) : logicalName
        for name in ["\(logicalName)type", "\(stem)typecode", "\(stem)objecttypecode", "\(logicalName)objecttypecode"] {
            if let attribute = entity[name], attribute.validFor.contains(.read) { return attribute }
        }
        return nil
    }
}
