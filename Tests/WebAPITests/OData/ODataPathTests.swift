import Model
import Records
import Testing

@testable import WebAPI

@Suite("Paths of the Web API")
struct ODataPathTests {
    private static let id = "00000000-0000-0000-0000-00000000000a"

    @Test(
        "The kind of a path follows from its segments",
        arguments: [
            ("", "serviceRoot"), ("/", "serviceRoot"), ("/$metadata", "metadata"), ("/$batch", "batch"),
            ("/mailboxes", "entitySet"),
            ("/mailboxes/$count", "count"), ("/mailboxes(\(id))", "entity"), ("/mailboxes(name='a%2Fb')", "entity"),
            ("/mailboxes(\(id))/name", "property"), ("/mailboxes(\(id))/emailserverprofile", "navigation"),
            ("/mailboxes/Microsoft.Dynamics.CRM.CreateMultiple", "collectionAction"), ("/WhoAmI", "operation"),
            ("/EntityDefinitions(LogicalName='queue')/Attributes", "definitions"),
        ])
    func kind(path: String, kind: String) throws {
        let read = try ODataPath(Substring(path))
        #expect("\(read)".prefix { $0.isLetter } == kind)
    }

    @Test("A key is percent-decoded once")
    func key() throws {
        guard case .entity(_, let key) = try ODataPath("/mailboxes(name='a%2Fb%2525')") else {
            return #expect(Bool(false), "no record")
        }
        #expect(key.text == "name='a/b%25'")
    }

    @Test(
        "An unknown path is refused as not found",
        arguments: [
            "/nothing/here", "/mailboxes/nothing", "/mailboxes(\(id))/nothing", "/$metadata/x", "/mailboxes/$count/x",
            "/mailboxes(\(id))/name/x",
        ])
    func unknown(path: String) {
        let error = #expect(throws: FieldsealError.self) { try ODataPath(Substring(path)) }
        #expect(error?.code == .noResource)
    }

    @Test("A malformed path is refused", arguments: ["/mailboxes(", "/mailboxes(x)", "/mailboxes(name='a)"])
    func malformed(path: String) {
        let error = #expect(throws: FieldsealError.self) { try ODataPath(Substring(path)) }
        #expect(error?.code == .badRequest)
    }
}
