import Foundation
import JSON
import Model
import Records

/// Records and results as OData JSON (OData JSON Format 4.0).
struct Representation: Sendable {
    /// The address of the API with its version, such as `https://…/contoso/api/data/v9.2`.
    let serviceRoot: String
    var preferences = Preferences(nil)

    func context(_ fragment: String) -> JSONValue.Member {
        .init("@odata.context", .string("\(serviceRoot)/$metadata#\(fragment)"))
    }

    /// The address of a record.
    func address(_ entity: EntityDefinition, _ id: UUID) -> String { "\(serviceRoot)/\(entity.entitySetName)(\(id.text))" }

    /// The selected properties in parentheses (OData 4.0 Part 1, section 10.7); empty for all.
    private func columns(_ page: RecordPage) -> String {
        let expanded = page.expanded.map { $0.isReference ? "\($0.name)/$ref" : "\($0.name)(\($0.contextColumns))" }
        let parts = (page.shape.contextColumns.isEmpty ? [] : [page.shape.contextColumns]) + expanded
        return parts.isEmpty ? "" : "(\(parts.joined(separator: ",")))"
    }

    /// The response with one record.
    func record(_ page: RecordPage) throws -> [UInt8] {
        guard let record = page.records.first else { return [] }
        var writer = RecordWriter(self)
        writer.open(context("\(page.shape.entity.entitySetName)\(columns(page))/$entity"))
        try writer.members(record, page.expanded)
        writer.close()
        return writer.output
    }

    /// The response with a page of records or groups.
    func page(_ page: RecordPage, nextLink: String?, annotations: [JSONValue.Member] = []) throws -> [UInt8] {
        var writer = RecordWriter(self)
        writer.open(context("\(page.shape.entity.entitySetName)\(columns(page))"))
        if let count = page.count { writer.member("@odata.count", .integer(Int64(count))) }
        for annotation in annotations { writer.member(annotation.name, annotation.value) }
        try writer.array("value", page.records, page.expanded)
        if let nextLink { writer.member("@odata.nextLink", .string(nextLink)) }
        writer.close()
        return writer.output
    }

    /// The response with the addresses of a page's records.
    func references(_ page: RecordPage, nextLink: String?) -> JSONValue {
        let references = page.records.map { record -> JSONValue in ["@odata.id": .string(address(page.shape.entity, record.id))] }
        var members = [context("Collection($ref)"), JSONValue.Member("value", .array(references))]
        if let nextLink { members.append(.init("@odata.nextLink", .string(nextLink))) }
        return .object(members)
    }
}

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
            // Reserves a little more than the first record's size for each. Appending alone would double the buffer again and
            // again.
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

    /// One value, as `value`.
    mutating func value(_ column: RowShape.Column, _ record: Record) throws {
        key("value")
        try record.writeJSON(column, to: &output)
    }

    private mutating func annotations(_ column: RowShape.Column, _ record: Record) throws {
        guard let attribute = column.attribute, !attribute.isEncrypted else { return }
        let value = try record.value(column)
        guard value != .null else { return }
        let wants = representation.preferences.wants
        if attribute.type.isReference, let target = try target(of: column, attribute, record) {
            if wants(Self.lookupProperty), !column.isRenamed {
                let isPolymorphic = attribute.type.isPolymorphic
                member(
                    "\(column.name)@\(Self.lookupProperty)",
                    .string(isPolymorphic ? "\(attribute.logicalName)_\(target)" : attribute.logicalName))
            }
            if wants(Self.lookupEntity) { member("\(column.name)@\(Self.lookupEntity)", .string(target)) }
        }
        guard wants(Self.formatted), let text = try FormattedValue.text(value, column, attribute, record) else { return }
        member("\(column.name)@\(Self.formatted)", .string(text))
    }

    /// The entity that a lookup refers to; nil where one of several is not known, as in groups.
    private func target(of column: RowShape.Column, _ attribute: AttributeDefinition, _ record: Record) throws -> String? {
        let targets = attribute.type.targets
        guard targets.count > 1 else { return targets.first }
        let own = attribute.typeAttribute(in: record.shape.entity)?.logicalName
        guard let kind = column.isRenamed ? RecordQuery.Output.hiddenType(column.name) : own,
            case .text(let name) = try record.value(of: kind)
        else { return nil }
        return name
    }
}

/// Formatted values for people, in US English.
enum FormattedValue {
    /// - Returns: Nil for values without a formatted form.
    static func text(
        _ value: AttributeValue, _ column: RowShape.Column, _ attribute: AttributeDefinition, _ record: Record
    ) throws -> String? {
        switch value {
        case .int(let number):
            if let options = attribute.type.options { return options.options.first { $0.value == number }?.label }
            return number.formatted(.number.locale(Locale(identifier: "en_US")))
        case .bool(let flag): return flag ? "Yes" : "No"
        // Newer libraries write a narrow space before AM and PM. Dataverse's texts have a normal one, and no comma.
        case .date(let date): return date.formatted(style).replacing("\u{202F}", with: " ").replacing(",", with: "")
        case .id where attribute.type.isReference:
            // The name of the record that a link's or a renamed lookup refers to is read under the column's own name.
            let own = column.isRenamed ? RecordQuery.Output.hiddenName(column.name) : "\(attribute.logicalName)name"
            guard case .text(let name) = try record.value(of: own) else { return nil }
            return name
        default: return nil
        }
    }

    private static let style = Date.FormatStyle(
        date: .numeric, time: .shortened, locale: Locale(identifier: "en_US"), timeZone: .gmt)
}
