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

    @Test("What was linked is not expected any more")
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

    @Test("A later write of the same password is not forgotten with the earlier one")
    func writtenAgain() {
        let list = PendingEventList()
        list.expect([event(1)], of: organization)
        let earlier = list.expected(of: organization)
        let later = ExpectedEvent("mailbox(1).password", by: .commandLine(user: "test"), since: start.addingTimeInterval(1))
        list.expect([later], of: organization)
        list.forget(earlier, of: organization)
        #expect(list.expected(of: organization).map(\.since) == [later.since])
    }

    @Test("An organization that can't be read is given up after a minute, and others are not")
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

    @Test("A server remembers a bounded number of events")
    func bounded() {
        let list = PendingEventList()
        list.expect((0..<30_000).map(event), of: organization)
        #expect(list.expected(of: organization).count == 20_000)
        list.expect([event(30_001)], of: organization)
        #expect(list.expected(of: organization).count == 20_000)
    }
}
