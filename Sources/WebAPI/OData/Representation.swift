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

    func address(_ entity: EntityDefinition, _ id: UUID) -> String { "\(serviceRoot)/\(entity.entitySetName)(\(id.text))" }

    /// The type of an entity's records, as `@odata.type` names it.
    static func type(of entity: EntityDefinition) -> String { "#\(ODataPath.namespace)\(entity.logicalName)" }

    /// The selected properties in parentheses (OData 4.0 Part 1, section 10.7); empty if all properties are selected.
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
        var members = [context("Collection($ref)")]
        if let count = page.count { members.append(.init("@odata.count", .integer(Int64(count)))) }
        members.append(.init("value", .array(references)))
        if let nextLink { members.append(.init("@odata.nextLink", .string(nextLink))) }
        return .object(members)
    }
}
