import JSON
import Model
import Testing

@testable import Records

@Suite("The values of a record")
struct ParsedValuesTests {
    /// Values that are refused, because each is of another kind than its attribute's values.
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

    @Test("A value of another kind is an error about its attribute", arguments: writable)
    func attributeOfAWrongValue(entity: String, attribute: String) throws {
        let definition = try #require(EntityCatalog.entity(entity))
        let member = JSONValue.Member(attribute, Self.wrong(try #require(definition[attribute])))
        let error = #expect(throws: FieldsealError.self) { try ParsedValues(definition, [member], for: .create) }
        #expect(error?.attribute == attribute)
    }

    @Test(
        "An error is about the attribute that was given, also if its message has the name of another one",
        arguments: [
            ("username", JSONValue.string(String(repeating: "x", count: 300))), ("undeliverablefolder", "INBOX"),
            ("emailserverprofile@odata.bind", "/queues(00000000-0000-0000-0000-000000000001)"), ("ownerid@odata.bind", true),
            ("modifiedon", 3),
        ])
    func attributeOfARefusedValue(member: String, value: JSONValue) {
        let error = #expect(throws: FieldsealError.self) { try ParsedValues(.mailbox, [.init(member, value)], for: .update) }
        #expect(error?.attribute == String(member.prefix { $0 != "@" }))
    }

    @Test("A missing name is an error about it")
    func missingName() {
        let error = #expect(throws: FieldsealError.self) { try ParsedValues(.mailbox, [], for: .create) }
        #expect(error?.attribute == "name")
    }

    @Test(
        "An unknown attribute and an unknown annotation are errors about no attribute",
        arguments: ["nme", "@odata.bnd", "nme@odata.bind"])
    func unknown(member: String) {
        let error = #expect(throws: FieldsealError.self) { try ParsedValues(.mailbox, [.init(member, "x")], for: .update) }
        #expect(error != nil && error?.attribute == nil)
    }

    @Test("An error that names its attribute keeps it")
    func keptAttribute() {
        let error = FieldsealError(.invalidArgument, "x")
        #expect(error.about(nil).attribute == nil)
        #expect(error.about("name").about("username").attribute == "name")
    }
}
