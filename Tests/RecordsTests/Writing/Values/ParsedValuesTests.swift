import JSON
import Model
import Testing

@testable import Records

@Suite("The values of a record")
struct ParsedValuesTests {
    /// A value that is refused, because it has another JSON type than the attribute's values.
    private static func wrong(_ attribute: AttributeDefinition) -> JSONValue {
        switch attribute.type {
        case .boolean: .string("true")
        default: .array([])
        }
    }

    private static let writable = EntityCatalog.all.flatMap { entity in
        entity.attributes.filter { $0.validFor.contains(.create) && !$0.type.isReference }.map {
            (entity.logicalName, $0.logicalName)
        }
    }

    @Test("The error for a value of the wrong JSON type names the attribute", arguments: writable)
    func attributeOfAWrongValue(entity: String, attribute: String) throws {
        let definition = try #require(EntityCatalog.entity(entity))
        let member = JSONValue.Member(attribute, Self.wrong(try #require(definition[attribute])))
        let error = #expect(throws: FieldsealError.self) { try ParsedValues(definition, [member], for: .create) }
        #expect(error?.attribute == attribute)
    }

    @Test(
        "An error names the attribute in the request, even if the message mentions another attribute",
        arguments: [
            ("username", JSONValue.string(String(repeating: "x", count: 300))), ("undeliverablefolder", "INBOX"),
            ("emailserverprofile@odata.bind", "/queues(00000000-0000-0000-0000-000000000001)"), ("ownerid@odata.bind", true),
            ("modifiedon", 3),
        ])
    func attributeOfARefusedValue(member: String, value: JSONValue) {
        let error = #expect(throws: FieldsealError.self) { try ParsedValues(.mailbox, [.init(member, value)], for: .update) }
        #expect(error?.attribute == String(member.prefix { $0 != "@" }))
    }

    @Test("The error for a record without a name names the attribute name")
    func missingName() {
        let error = #expect(throws: FieldsealError.self) { try ParsedValues(.mailbox, [], for: .create) }
        #expect(error?.attribute == "name")
    }

    @Test(
        "The error for an unknown attribute or annotation names no attribute",
        arguments: ["nme", "@odata.bnd", "nme@odata.bind"])
    func unknown(member: String) {
        let error = #expect(throws: FieldsealError.self) { try ParsedValues(.mailbox, [.init(member, "x")], for: .update) }
        #expect(error != nil && error?.attribute == nil)
    }

    @Test("An error that already names an attribute keeps that attribute")
    func keptAttribute() {
        let error = FieldsealError(.invalidArgument, "x")
        #expect(error.about(nil).attribute == nil)
        #expect(error.about("name").about("username").attribute == "name")
    }
}
