import Model
import RouterProtocol
import Testing

@Suite("Error codes that a router handles")
struct ServiceCodeTests {
    @Test("Each code equals the Web API's error code of the same name", arguments: ServiceCode.allCases)
    func code(_ code: ServiceCode) {
        #expect(ErrorCode(rawValue: code.rawValue).map { "\($0)" } == "\(code)")
    }
}
