import Model
import Tenancy
import Testing

@testable import Records

@Suite("The statuses of e-mails")
struct EmailTransitionTests {
    @Test("No role may write the status Pending Send, Sending or Failed to an e-mail", arguments: Role.allCases)
    func submittedByMessagesAlone(role: Role) {
        for status in [EmailStatus.pendingSend, .sending, .failed] {
            #expect(!EmailTransition.mayCreate(status, role))
            #expect(EmailTransition.sources(of: status, role).isEmpty)
        }
    }

    @Test("Basic Users may write only Draft and Canceled; System Administrators also Completed, Sent and Received")
    func roles() {
        #expect(EmailStatus.allCases.filter { EmailTransition.mayCreate($0, .basicUser) } == [.draft])
        #expect(
            EmailStatus.allCases.filter { EmailTransition.mayCreate($0, .systemAdministrator) }
                == [.draft, .completed, .sent, .received, .canceled])
        #expect(EmailTransition.sources(of: .draft, .basicUser) == [.draft, .canceled, .failed])
        #expect(EmailTransition.sources(of: .canceled, .basicUser) == [.draft, .canceled, .failed, .pendingSend])
        #expect(EmailTransition.sources(of: .sent, .basicUser).isEmpty)
    }

    @Test("No role may cancel an e-mail while a router sends it", arguments: Role.allCases)
    func sending(role: Role) {
        #expect(!EmailTransition.sources(of: .canceled, role).contains(.sending))
    }

    @Test("Each status belongs to one of three states, and the default status of a state belongs to that state")
    func states() {
        #expect(EmailStatus.allCases.allSatisfy { (0...2).contains($0.state) })
        for state in Int64(0)...2 { #expect(EmailStatus(state: state)?.state == state) }
        #expect(EmailStatus(state: 3) == nil)
    }

    @Test("Each status is either an ended status, or that of an e-mail that waits, is being sent, has failed or is a draft")
    func ended() {
        #expect(EmailStatus.ended.isDisjoint(with: EmailStatus.outbound.union(EmailStatus.editable)))
        #expect(EmailStatus.ended.union(EmailStatus.outbound).union(EmailStatus.editable) == Set(EmailStatus.allCases))
        #expect(EmailStatus.outbound.sql == "(6, 7)" && Participation.recipients.sql == "(2, 3, 4)")
    }
}
