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
                let shown = EventDetails.told("\(purpose): \(code)", of: "key message refused", texts)
                #expect(shown == texts.labelled(texts["purpose:\(purpose)"], texts["refusal:\(code)"]))
            }
            let released = "Incoming, mailbox 00000000-0000-4000-8000-00000000dead: \(code.rawValue)"
            #expect(EventDetails.told(released, of: "credential released", texts).hasSuffix(texts["refusal:\(code)"]))
        }
        for purpose in purposes { #expect(texts.messages["purpose:\(purpose)"] != nil, "\(language) lacks \(purpose)") }
        #expect(EventDetails.told("change: weak key", of: "key message refused", texts).contains(texts["detail:weak key"]))
    }

    @Test("Names keep their words, and a text without a translation is quoted")
    func others() throws {
        let (english, german) = (try ConsoleFiles().texts("en"), try ConsoleFiles().texts("de"))
        #expect(EventDetails.told("ada: sessions ended", of: "user changed", english) == "ada: sessions ended")
        #expect(EventDetails.told("ada, Basic User", of: "user added", english) == "ada, Basic User")
        #expect(EventDetails.told("ada", of: "user removed", german) == "ada")
        let mailbox = "e-mail A, mailbox B: The sender has no mailbox to send from."
        #expect(!EventDetails.told(mailbox, of: "e-mail not handed over", german).contains("The sender has no mailbox"))
        let unknown = "words of a later version"
        #expect(EventDetails.told(unknown, of: "user changed", english) == unknown)
        #expect(EventDetails.told(unknown, of: "user changed", german) == "Im Wortlaut: „\(unknown)“")
        #expect(german.toldReport("550 no such user") == "Der Mailserver antwortete: „550 no such user“")
        #expect(
            try EventDetails.told("read: privilegeDenied", of: "key message refused", ConsoleFiles().texts("fr")).contains(" : "))
    }
}
