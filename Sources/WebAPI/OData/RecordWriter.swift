import Foundation
import JSON
import Model
import Records

/// Writes records as JSON.
struct RecordWriter {
    private(set) var output: [UInt8] = []
    private let representation: Representation
    private let isAnnotated: Bool

    private static let formatted = "OData.Community.Display.V1.FormattedValue"
    private static let lookupEntity = "Microsoft.Dynamics.CRM.lookuplogicalname"
    private static let lookupProperty = "Microsoft.Dynamics.CRM.associatednavigationproperty"

    private static let tagStart = Array(#""@odata.etag":"W/\""#.utf8)
    private static let tagEnd = Array(#"\"""#.utf8)

    /// The estimated bytes of a record with a few attributes.
    private static let usualLength = 512

    init(_ representation: Representation) {
        self.representation = representation
        isAnnotated = !representation.preferences.annotations.isEmpty
        output.reserveCapacity(Self.usualLength)
    }

    mutating func open(_ first: JSONValue.Member) {
        output.append(UInt8(ascii: "{"))
        JSONValue.write(first.name, to: &output)
        output.append(UInt8(ascii: ":"))
        first.value.write(to: &output)
    }

    mutating func close() {
        output.append(UInt8(ascii: "}"))
    }

    mutating func member(_ name: String, _ value: JSONValue) {
        key(name)
        value.write(to: &output)
    }

    private mutating func separate() {
        if output.last != UInt8(ascii: "{") { output.append(UInt8(ascii: ",")) }
    }

    /// The entity tag, equal to ``Record/etag``.
    private mutating func tag(_ record: Record) {
        separate()
        output.append(contentsOf: Self.tagStart)
        output.appendDecimal(Int(record.versionNumber))
        output.append(contentsOf: Self.tagEnd)
    }

    private mutating func key(_ name: String) {
        separate()
        JSONValue.write(name, to: &output)
        output.append(UInt8(ascii: ":"))
    }

    mutating func array(_ name: String, _ records: [Record], _ expanded: [ExpandedProperty]) throws {
        key(name)
        output.append(UInt8(ascii: "["))
        for (index, record) in records.enumerated() {
            if index > 0 { output.append(UInt8(ascii: ",")) }
            output.append(UInt8(ascii: "{"))
            let start = output.count
            try members(record, expanded)
            output.append(UInt8(ascii: "}"))
            guard index == 0 else { continue }
            // Reserves for each record a little more than the size of the first record. Appending alone would double the buffer
            // again and again.
            let expected = start + (output.count - start) * records.count * 9 / 8
            if expected > 2 * output.capacity { output.reserveCapacity(expected) }
        }
        output.append(UInt8(ascii: "]"))
    }

    /// The members of a record's object. The caller writes the braces.
    mutating func members(_ record: Record, _ expanded: [ExpandedProperty]) throws {
        let shape = record.shape
        let isIdentified = shape.hasRecords && shape.isIdentified
        if isIdentified { tag(record) }
        for column in shape.columns where !column.isHidden {
            if isAnnotated { try annotations(column, record) }
            separate()
            output.append(contentsOf: column.key)
            try record.writeJSON(column, to: &output)
        }
        if isIdentified, !shape.givesID { member(shape.entity.primaryID, .string(record.id.text)) }
        // In the metadata, the key of users and teams is `ownerid`, the key of their base type.
        if isIdentified, shape.entity.isPrincipal, !shape.givesOwnerID { member("ownerid", .string(record.id.text)) }
        for property in expanded {
            let (records, inner) = try property.records(of: record)
            if property.isReference {
                references(property, records)
            } else if property.isCollection {
                try array(property.name, records, inner)
            } else {
                key(property.name)
                guard let first = records.first else {
                    output.append(contentsOf: "null".utf8)
                    continue
                }
                output.append(UInt8(ascii: "{"))
                // The declared type of an owner is abstract, so the type of the record itself is written.
                if property.isOfOwner { member("@odata.type", .string(Representation.type(of: first.shape.entity))) }
                try members(first, inner)
                output.append(UInt8(ascii: "}"))
            }
        }
    }

    private mutating func references(_ property: ExpandedProperty, _ records: [Record]) {
        let addresses = records.map { record -> JSONValue in
            ["@odata.id": .string(representation.address(record.shape.entity, record.id))]
        }
        member(property.name, property.isCollection ? .array(addresses) : addresses.first ?? .null)
    }

    /// Writes one value as the member `value`.
    mutating func value(_ column: RowShape.Column, _ record: Record) throws {
        key("value")
        try record.writeJSON(column, to: &output)
    }

    private mutating func annotations(_ column: RowShape.Column, _ record: Record) throws {
        let wants = representation.preferences.wants
        guard let attribute = column.attribute else {
            // Without an attribute, the column is a count, a sum, an average or a part of a date.
            guard wants(Self.formatted), let text = FormattedValue.text(try record.value(column)) else { return }
            return member("\(column.name)@\(Self.formatted)", .string(text))
        }
        guard !attribute.isEncrypted else { return }
        let value = try record.value(column)
        guard value != .null else { return }
        if attribute.type.isReference, let target = try target(of: column, attribute, record) {
            if wants(Self.lookupProperty), !column.isRenamed {
                member(
                    "\(column.name)@\(Self.lookupProperty)",
                    .string(record.shape.entity.navigationProperty(of: attribute, to: target)))
            }
            if wants(Self.lookupEntity) { member("\(column.name)@\(Self.lookupEntity)", .string(target)) }
        }
        guard wants(Self.formatted), let text = try FormattedValue.text(value, column, attribute, record) else { return }
        member("\(column.name)@\(Self.formatted)", .string(text))
    }

    /// The entity that a lookup refers to. Nil if the lookup may refer to several entities, and the row does not say to which. A
    /// row of a grouped query does not.
    private func target(of column: RowShape.Column, _ attribute: AttributeDefinition, _ record: Record) throws -> String? {
        if let target = attribute.type.soleTarget { return target }
        let own = attribute.typeAttribute(in: record.shape.entity)?.logicalName
        guard let kind = column.isRenamed ? RecordQuery.Output.hiddenType(column.name) : own,
            case .text(let name) = try record.value(of: kind)
        else { return nil }
        return name
    }
}
