import Foundation
import RouterProtocol

/// The progress of the e-mails that a router took, and how much of it the service knows.
///
/// The service must know that e-mails are being handed over before a mail server gets their first byte. The first request announces
/// one e-mail, and each later request announces twice as many as the one before, up to a limit. The request also carries the mail
/// server's responses so far. If the router ends unexpectedly, the result for the announced e-mails is unknown, and their records
/// say so.
final class SendingProgress {
    /// How many e-mails one request announces at most. A crash leaves the result of at most this many e-mails unknown.
    static let handOverLimit = 16
    /// Seconds for which an announcement is valid. When the announcement has expired, the router asks the service again whether the
    /// mailbox may send.
    private static let announcementSeconds = 10.0

    private let tell: ([SendingReport]) throws -> Void
    private var emails: [PendingEmail] = []
    /// Reports for the service that the next request carries.
    private var reports: [SendingReport] = []
    private var announced: Set<String> = []
    private var announcedOn = Date.distantPast
    private var width = 1

    /// - Parameter tell: Sends reports to the service.
    init(_ tell: @escaping ([SendingReport]) throws -> Void) { self.tell = tell }

    /// Starts with new e-mails. No e-mail counts as announced yet.
    func begin(_ emails: [PendingEmail]) {
        self.emails = emails
        announced = []
    }

    /// Ensures that the service knows that an e-mail is being handed over. If the router crashes after this call, the e-mail's
    /// result is unknown.
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
            // No byte of these e-mails was sent to the mail server, so their announcement is taken back.
            reports = before
            throw error
        }
        announced = Set(group)
        announcedOn = Date()
        width = min(width * 2, Self.handOverLimit)
    }

    /// Notes the result for an e-mail.
    func note(_ email: PendingEmail, _ outcome: SendingReport.Outcome, _ reason: String? = nil, _ code: Int? = nil) {
        reports.append(
            SendingReport(emailId: email.emailId, outcome: outcome, reason: reason.map { String($0.prefix(2_000)) }, code: code))
    }

    /// Sends the reports that are left.
    func flush() throws {
        while !reports.isEmpty {
            let some = Array(reports.prefix(SendingReport.Request.limit))
            try tell(some)
            reports.removeFirst(some.count)
        }
    }
}
