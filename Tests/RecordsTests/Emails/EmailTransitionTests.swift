import Model
import Tenancy
import Testing

@testable import Records

@Suite("The statuses of e-mails")
struct EmailTransitionTests {
    @Test("No write of a client submits an e-mail, or says that it failed", arguments: Role.allCases)
    func submittedByMessagesAlone(role: Role) {
        for status in [EmailStatus.pendingSend, .sending, .failed] {
            #expect(!EmailTransition.mayCreate(status, role))
            #expect(EmailTransition.sources(of: status, role).isEmpty)
        }
    }

    @Test("Writers draft and cancel; System Administrators record what happened elsewhere")
    func roles() {
        #expect(EmailStatus.allCases.filter { EmailTransition.mayCreate($0, .basicUser) } == [.draft])
        #expect(
            EmailStatus.allCases.filter { EmailTransition.mayCreate($0, .systemAdministrator) }
                == [.draft, .completed, .sent, .received, .canceled])
        #expect(EmailTransition.sources(of: .draft, .basicUser) == [.draft, .canceled, .failed])
        #expect(EmailTransition.sources(of: .canceled, .basicUser) == [.draft, .canceled, .failed, .pendingSend])
        #expect(EmailTransition.sources(of: .sent, .basicUser).isEmpty)
    }

    @Test("A router's work on an e-mail is not cut off: what is being sent can't be canceled", arguments: Role.allCases)
    func sending(role: Role) {
        #expect(!EmailTransition.sources(of: .canceled, role).contains(.sending))
    }

    @Test("Each status has one of the three states, and a state's own status leads back to it")
    func states() {
        #expect(EmailStatus.allCases.allSatisfy { (0...2).contains($0.state) })
        for state in Int64(0)...2 { #expect(EmailStatus(state: state)?.state == state) }
        #expect(EmailStatus(state: 3) == nil)
    }

    @Test("E-mails that wait, can be sent again or are drafts have not ended")
    func ended() {
        #expect(EmailStatus.ended.isDisjoint(with: EmailStatus.outbound.union(EmailStatus.editable)))
        #expect(EmailStatus.ended.union(EmailStatus.outbound).union(EmailStatus.editable) == Set(EmailStatus.allCases))
        #expect(EmailStatus.outbound.sql == "(6, 7)" && Participation.recipients.sql == "(2, 3, 4)")
    }
}
