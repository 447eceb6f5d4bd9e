import Fieldseal
import Foundation

/// Records and answers as OData JSON (OData JSON Format 4.0).
struct Representation: Sendable {
    /// The address of the API with its version, such as `https://…/contoso/api/data/v9.2`.
    let serviceRoot: String

    func context(_ fragment: String) -> JSONValue.Member {
        .init("@odata.context", .string("\(serviceRoot)/$metadata#\(fragment)"))
    }

    /// The address of a record.
    func address(_ entity: EntityDefinition, _ id: UUID) -> String { "\(serviceRoot)/\(entity.entitySetName)(\(id.text))" }

    func record(_ record: Record) -> JSONValue {
        .object([context("\(record.entity.entitySetName)/$entity")] + members(record))
    }

    func page(_ page: RecordPage, of entity: EntityDefinition, nextLink: String?) -> JSONValue {
        var members = [
            context(entity.entitySetName),
            JSONValue.Member("value", .array(page.records.map { .object(self.members($0)) })),
        ]
        if let nextLink { members.append(.init("@odata.nextLink", .string(nextLink))) }
        return .object(members)
    }

    private func members(_ record: Record) -> [JSONValue.Member] {
        var members = [JSONValue.Member("@odata.etag", .string(record.etag))]
        var hasID = false
        for (attribute, value) in record.values {
            hasID = hasID || attribute.logicalName == record.entity.primaryID
            members.append(.init(attribute.propertyName, json(value)))
        }
        if !hasID { members.append(.init(record.entity.primaryID, .string(record.id.text))) }
        return members
    }

    private func json(_ value: AttributeValue) -> JSONValue {
        switch value {
        case .null: .null
        case .text(let text): .string(text)
        case .int(let number): .integer(number)
        case .bool(let flag): .bool(flag)
        case .decimal(let text): .number(text)
        case .date(let date): .string(ISO8601.text(date))
        case .id(let id): .string(id.text)
        case .bytes(let bytes): .string(Data(bytes).base64EncodedString())
        }
    }
}
