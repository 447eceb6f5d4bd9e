import Model
import Tenancy
import Testing

@testable import Records

@Suite("The statuses of e-mails")
struct EmailTransitionTests {
    @Test("No role may set a status with which an e-mail is submitted, being sent or failed", arguments: Role.allCases)
    func submittedByMessagesAlone(role: Role) {
        for status in [EmailStatus.pendingSend, .sending, .failed] {
            #expect(!EmailTransition.mayCreate(status, role))
            #expect(EmailTransition.sources(of: status, role).isEmpty)
        }
    }

    @Test("A Basic User may draft and cancel e-mails; a System Administrator may also record e-mails of other systems")
    func roles() {
        #expect(EmailStatus.allCases.filter { EmailTransition.mayCreate($0, .basicUser) } == [.draft])
        #expect(
            EmailStatus.allCases.filter { EmailTransition.mayCreate($0, .systemAdministrator) }
                == [.draft, .completed, .sent, .received, .canceled])
        #expect(EmailTransition.sources(of: .draft, .basicUser) == [.draft, .canceled, .failed])
        #expect(EmailTransition.sources(of: .canceled, .basicUser) == [.draft, .canceled, .failed, .pendingSend])
        #expect(EmailTransition.sources(of: .sent, .basicUser).isEmpty)
    }

    @Test("An e-mail that a router is sending can't be canceled by any role", arguments: Role.allCases)
    func sending(role: Role) {
        #expect(!EmailTransition.sources(of: .canceled, role).contains(.sending))
    }

    @Test("Each status has one of the three states, and the default status of a state has that state")
    func states() {
        #expect(EmailStatus.allCases.allSatisfy { (0...2).contains($0.state) })
        for state in Int64(0)...2 { #expect(EmailStatus(state: state)?.state == state) }
        #expect(EmailStatus(state: 3) == nil)
    }

    @Test("The statuses that have ended are exactly those that are neither waiting to be sent nor editable")
    func ended() {
        #expect(EmailStatus.ended.isDisjoint(with: EmailStatus.outbound.union(EmailStatus.editable)))
        #expect(EmailStatus.ended.union(EmailStatus.outbound).union(EmailStatus.editable) == Set(EmailStatus.allCases))
        #expect(EmailStatus.outbound.sql == "(6, 7)" && Participation.recipients.sql == "(2, 3, 4)")
    }
}
