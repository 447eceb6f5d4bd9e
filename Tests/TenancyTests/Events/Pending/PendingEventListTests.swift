import Foundation
import Testing

@testable import Tenancy

@Suite("Events that a server expects in the chain")
struct PendingEventListTests {
    private let organization = Organization(id: UUID(), name: "contoso")
    private let start = Date(timeIntervalSince1970: 1_800_000_000)

    private func event(_ number: Int) -> ExpectedEvent {
        ExpectedEvent("mailbox(\(number)).password", by: .commandLine(user: "test"), since: start)
    }

    private func pending(_ number: Int, at date: Date) -> PendingEvent {
        PendingEvent(.passwordSet, details: "mailbox(\(number)).password", by: .commandLine(user: "test"), at: date)
    }

    @Test("An event that was linked into the chain is no longer expected")
    func linked() {
        let list = PendingEventList()
        list.expect([event(1), event(2)], of: organization)
        #expect(list.take() == ["contoso"])
        list.forgetLinked([pending(1, at: start)], of: organization)
        #expect(list.expected(of: organization).map(\.key.details) == ["mailbox(2).password"])
        // An event with a much earlier time is a different event.
        list.forgetLinked([pending(2, at: start.addingTimeInterval(-7_200))], of: organization)
        #expect(list.expected(of: organization).count == 1)
        list.forget([event(2)], of: organization)
        #expect(list.expected(of: organization).isEmpty && list.take().isEmpty)
    }

    @Test("Forgetting the event of an earlier write keeps the event of a later write of the same password")
    func writtenAgain() {
        let list = PendingEventList()
        list.expect([event(1)], of: organization)
        let earlier = list.expected(of: organization)
        let later = ExpectedEvent("mailbox(1).password", by: .commandLine(user: "test"), since: start.addingTimeInterval(1))
        list.expect([later], of: organization)
        list.forget(earlier, of: organization)
        #expect(list.expected(of: organization).map(\.since) == [later.since])
    }

    @Test("After 60 failed look-ups, the events of an organization are forgotten, and those of other organizations are kept")
    func givenUp() {
        let list = PendingEventList()
        let other = Organization(id: UUID(), name: "fabrikam")
        list.expect([event(1)], of: organization)
        list.expect([event(2)], of: other)
        for _ in 0..<59 { list.postpone("contoso") }
        #expect(list.take() == ["contoso", "fabrikam"])
        list.postpone("contoso")
        #expect(list.take() == ["fabrikam"] && list.expected(of: other).count == 1)
    }

    @Test("A server remembers at most 20,000 expected events")
    func bounded() {
        let list = PendingEventList()
        list.expect((0..<30_000).map(event), of: organization)
        #expect(list.expected(of: organization).count == 20_000)
        list.expect([event(30_001)], of: organization)
        #expect(list.expected(of: organization).count == 20_000)
    }
}
