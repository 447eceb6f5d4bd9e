import Model
import RouterProtocol
import Testing

@Suite("Codes that a router acts on")
struct ServiceCodeTests {
    @Test("Each is the Web API's code of the same name", arguments: ServiceCode.allCases)
    func code(_ code: ServiceCode) {
        #expect(ErrorCode(rawValue: code.rawValue).map { "\($0)" } == "\(code)")
    }
}
