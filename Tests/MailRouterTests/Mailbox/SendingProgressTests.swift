import RouterProtocol
import Testing

@testable import MailRouter

@Suite("The progress of sending")
struct SendingProgressTests {
    /// A service that records the reports that it gets, or is unavailable.
    private final class Service {
        var requests: [[SendingReport]] = []
        var isAway = false

        func tell(_ reports: [SendingReport]) throws {
            if isAway { throw ServiceError.away("test") }
            requests.append(reports)
        }
    }

    private func emails(_ count: Int) -> [PendingEmail] {
        (0..<count).map {
            PendingEmail(
                emailId: "\($0)", subject: "", body: "", messageId: "", inReplyTo: nil, references: [], bodyType: nil, priority: 1,
                createdOn: "", readReceiptRequested: false)
        }
    }

    @Test("Each e-mail is announced before it is handed over, and each request announces twice as many as the one before")
    func announcements() throws {
        let (service, emails) = (Service(), emails(40))
        let progress = SendingProgress(service.tell)
        progress.begin(emails)
        for (index, email) in emails.enumerated() {
            try progress.announce(index)
            let known = service.requests.joined().filter { $0.outcome == .handingOver }.map(\.emailId)
            #expect(known.contains(email.emailId))
            progress.note(email, .sent)
        }
        try progress.flush()
        let announced = service.requests.map { $0.count(where: { $0.outcome == .handingOver }) }
        #expect(announced == [1, 2, 4, 8, 16, 9, 0])
        #expect(service.requests.joined().filter { $0.outcome == .sent }.map(\.emailId) == emails.map(\.emailId))
    }

    @Test("If the service is unavailable, no further e-mail counts as announced, and no result is lost")
    func unavailable() throws {
        let (service, emails) = (Service(), emails(2))
        let progress = SendingProgress(service.tell)
        progress.begin(emails)
        try progress.announce(0)
        progress.note(emails[0], .permanent, String(repeating: "x", count: 5_000), 20)
        service.isAway = true
        #expect(throws: ServiceError.self) { try progress.announce(1) }
        service.isAway = false
        try progress.flush()
        #expect(service.requests.map(\.count) == [1, 1])
        #expect(service.requests[1][0].outcome == .permanent && service.requests[1][0].code == 20)
        #expect(service.requests[1][0].reason?.count == 2_000)
    }

    @Test("A request has at most as many reports as the service accepts, and the next request has the rest")
    func limit() throws {
        let (service, emails) = (Service(), emails(SendingReport.Request.limit + 1))
        let progress = SendingProgress(service.tell)
        for email in emails { progress.note(email, .temporary) }
        try progress.flush()
        #expect(service.requests.map(\.count) == [SendingReport.Request.limit, 1])
    }
}
