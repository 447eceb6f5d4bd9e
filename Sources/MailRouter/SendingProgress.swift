import Foundation
import RouterProtocol

/// How far a router got with the e-mails that it took, and what the service knows of it.
///
/// The service is told that e-mails are handed over before a mail server gets the first byte of them. One request tells it for
/// several: for one at first, and for twice as many each time, since a mailbox with many e-mails sends them one after the other. The
/// answers of the mail server travel along with it. If the router dies, the fate of these e-mails is unknown, and the records say so.
final class SendingProgress {
    /// E-mails that are announced by one request at most, and so the e-mails whose fate one crash can leave unknown.
    static let handOverLimit = 16
    /// Seconds for which an announcement holds: after that the service is asked again whether the mailbox may still send.
    private static let announcementSeconds = 10.0

    private let tell: ([SendingReport]) throws -> Void
    private var emails: [PendingEmail] = []
    /// What the service is not told yet: it goes along with the next request.
    private var reports: [SendingReport] = []
    private var announced: Set<String> = []
    private var announcedOn = Date.distantPast
    private var width = 1

    /// - Parameter tell: Sends reports to the service.
    init(_ tell: @escaping ([SendingReport]) throws -> Void) { self.tell = tell }

    /// Begins with other e-mails.
    func begin(_ emails: [PendingEmail]) {
        self.emails = emails
        announced = []
    }

    /// Makes sure that the service knows that an e-mail is handed over. From here on a crash leaves it unknown whether it was sent.
    func announce(_ index: Int) throws {
        guard !announced.contains(emails[index].emailId) || Date().timeIntervalSince(announcedOn) > Self.announcementSeconds else {
            return
        }
        let group = emails[index...].prefix(width).map(\.emailId)
        let before = reports
        reports += group.map { SendingReport(emailId: $0, outcome: .handingOver) }
        do {
            try flush()
        } catch {
            // No byte was sent: these are not handed over.
            reports = before
            throw error
        }
        announced = Set(group)
        announcedOn = Date()
        width = min(width * 2, Self.handOverLimit)
    }

    /// Notes what became of an e-mail.
    func note(_ email: PendingEmail, _ outcome: SendingReport.Outcome, _ reason: String? = nil, _ code: Int? = nil) {
        reports.append(
            SendingReport(emailId: email.emailId, outcome: outcome, reason: reason.map { String($0.prefix(2_000)) }, code: code))
    }

    /// Tells the service what it does not know yet.
    func flush() throws {
        while !reports.isEmpty {
            let some = Array(reports.prefix(SendingReport.Request.limit))
            try tell(some)
            reports.removeFirst(some.count)
        }
    }
}
