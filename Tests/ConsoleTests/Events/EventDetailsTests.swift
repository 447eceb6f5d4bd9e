import KeyManagement
import Model
import Tenancy
import Testing

@testable import Console

@Suite("Details of security events")
struct EventDetailsTests {
    @Test("Every error code and every purpose has words in each language", arguments: try ConsoleFiles().languageNames)
    func words(_ language: String) throws {
        let texts = try ConsoleFiles().texts(language)
        let purposes = KeyAdministration.Purpose.allCases.map(\.rawValue) + Approval.Operation.allCases.map(\.rawValue)
        for code in ErrorCode.allCases {
            #expect(texts.messages["refusal:\(code)"] != nil, "\(language) lacks \(code)")
            for purpose in purposes {
                let shown = EventDetails.shown("\(purpose): \(code)", texts)
                #expect(shown == texts.labelled(texts["purpose:\(purpose)"], texts["refusal:\(code)"]))
            }
            let released = "Incoming, mailbox 00000000-0000-4000-8000-00000000dead: \(code.rawValue)"
            #expect(EventDetails.reason(released, texts) == texts["refusal:\(code)"])
        }
        for purpose in purposes { #expect(texts.messages["purpose:\(purpose)"] != nil, "\(language) lacks \(purpose)") }
        #expect(EventDetails.shown("change: weak key", texts).contains(texts["detail:weak key"]))
    }

    @Test("Details that are a name or another text are shown unchanged")
    func others() throws {
        let english = try ConsoleFiles().texts("en")
        #expect(EventDetails.shown("ada: sessions ended", english) == "ada: sessions ended")
        #expect(EventDetails.shown("ada, Basic User", english) == "ada, Basic User")
        #expect(EventDetails.reason("Incoming, mailbox X, from none, for imap.test:993", english) == nil)
        let mailbox = "e-mail A, mailbox B: The sender has no mailbox to send from."
        #expect(try EventDetails.reason(mailbox, ConsoleFiles().texts("de")) != "The sender has no mailbox to send from.")
        #expect(try EventDetails.shown("read: privilegeDenied", ConsoleFiles().texts("fr")).contains(" : "))
    }
}
