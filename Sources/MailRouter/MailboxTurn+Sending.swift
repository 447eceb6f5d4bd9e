import CurlClient
import Foundation
import Logging
import RouterProtocol

// Sending what is pending.
extension MailboxTurn {
    /// What the service is not told yet: it goes along with the next request.
    private final class Unreported {
        var reports: [Parameter] = []
    }

    /// Connections that may end while e-mails are sent, before it is the server that is at fault.
    private static let lossLimit = 5

    func send(_ counts: inout Counts) throws {
        guard !mailbox.tests else { return try signIn(try login("Outgoing")).close() }
        // No password is asked for when there is nothing to send.
        var emails = try asking { try client.pending(mailbox, host, limit: 50) }
        guard !emails.isEmpty else { return }
        let unreported = Unreported()
        let login: Login
        var session: SMTPSession
        do {
            login = try self.login("Outgoing")
            session = try signIn(login)
        } catch let problem as MailboxProblem {
            // None of these was handed over; they are pending again.
            try postpone(emails[...], problem, unreported)
            throw problem
        }
        var taken = emails.count
        var losses = 0
        while !emails.isEmpty {
            for (index, email) in emails.enumerated() {
                do {
                    try send(email, session, unreported, &counts)
                } catch ServiceError.away(let why) {
                    // Nobody was told that this one is handed over, so it was not: the connection goes with its beginnings.
                    unreported.reports.removeLast()
                    for rest in emails[index...] { outcome(rest, "Temporary", "The service was away: \(why)", 0, unreported) }
                    return try flush(unreported)
                } catch let error where error is CurlError || error is MailError || error is MailboxProblem {
                    let problem = MailboxProblem(error, server: "\(login.server):\(login.port)", what: "sending")
                    // What a server hangs up at is one e-mail's fault until it hangs up again and again. The fate of one that was being handed
                    // over is reported already.
                    if !(error is MailboxProblem) { outcome(email, "Temporary", problem.text, problem.code, unreported) }
                    losses += 1
                    do {
                        guard losses <= Self.lossLimit else { throw problem }
                        session = try signIn(login)
                    } catch let problem as MailboxProblem {
                        try postpone(emails[(index + 1)...], problem, unreported)
                        throw problem
                    }
                    counts.problems.append(problem)
                }
            }
            try flush(unreported)
            guard taken < configuration.turnLimit, !isStopped() else { break }
            emails = try client.pending(mailbox, host, limit: 50)
            taken += emails.count
        }
        session.close()
    }

    /// Has e-mails that were not begun tried again later.
    private func postpone(_ emails: ArraySlice<PendingEmail>, _ problem: MailboxProblem, _ unreported: Unreported) throws {
        for email in emails { outcome(email, "Temporary", problem.text, problem.code, unreported) }
        try flush(unreported)
    }

    private func signIn(_ login: Login) throws -> SMTPSession {
        let connection = try connect(login, "smtp", implicitPort: 465)
        do {
            return try SMTPSession(connection)
        } catch {
            throw MailboxProblem(error, server: "\(login.server):\(login.port)", what: "sending")
        }
    }

    private func send(_ email: PendingEmail, _ session: SMTPSession, _ unreported: Unreported, _ counts: inout Counts) throws {
        let message = MessageComposer(email: email).bytes()
        var recipients: [String] = []
        for person in email.to + email.cc + email.bcc where !recipients.contains(person.address) {
            recipients.append(person.address)
        }
        let answer = try session.send(message, from: email.from.address, to: recipients) {
            // From here on a crash leaves it unknown whether it was sent, and the record has to say so first.
            outcome(email, "HandingOver", "", 0, unreported)
            try flush(unreported, isUrgent: true)
        } onWait: {
            keepLease()
        }
        switch answer {
        case .accepted:
            counts.sent += 1
            outcome(email, "Sent", "", 0, unreported)
        case .refused(let isPermanent, let text):
            counts.unsent[isPermanent ? "permanent" : "temporary", default: 0] += 1
            outcome(email, isPermanent ? "Permanent" : "Temporary", text, Self.code(text), unreported)
        case .partly(let text):
            counts.unsent["permanent", default: 0] += 1
            outcome(email, "Permanent", text, Self.code(text), unreported)
        case .unknown(let text):
            counts.unsent["unknown", default: 0] += 1
            outcome(email, "Unknown", text, AlertCode.unreachable, unreported)
            throw MailboxProblem(
                AlertCode.unreachable, "The mail server broke the connection while it took a message.", text,
                isPermanent: false)
        }
        log(.debug, "sent", ["email": "\(email.id)", "message-id": "\(email.messageID)", "answer": "\(answer.word)"])
    }

    /// Has the lease last while a mail server thinks.
    private func keepLease() {
        let body: [String: Parameter] = ["MailboxId": .text(mailbox.mailboxId), "HostId": .text(host), "Ids": .list([])]
        _ = try? client.call("fieldseal.KnownMessages", body)
    }

    private static func code(_ text: String) -> Int {
        if text.contains("552") || text.contains("5.3.4") { return AlertCode.tooLarge }
        if text.contains("452") || text.contains("5.2.2") || text.contains("4.2.2") { return AlertCode.mailboxFull }
        return AlertCode.refused
    }

    private func outcome(_ email: PendingEmail, _ outcome: String, _ reason: String, _ code: Int, _ unreported: Unreported) {
        unreported.reports.append(
            .object([
                "EmailId": .text(email.id), "Outcome": .text(outcome), "Reason": .text(String(reason.prefix(2_000))),
                "Code": .number(code),
            ]))
    }

    /// Tells the service.
    ///
    /// - Parameter isUrgent: Whether a mail server waits meanwhile, so that there is no time to ask twice.
    private func flush(_ unreported: Unreported, isUrgent: Bool = false) throws {
        guard !unreported.reports.isEmpty else { return }
        let body: [String: Parameter] = [
            "MailboxId": .text(mailbox.mailboxId), "HostId": .text(host), "Reports": .list(unreported.reports),
        ]
        if isUrgent {
            _ = try client.call("fieldseal.ReportEmails", body)
        } else {
            try persistently { _ = try client.call("fieldseal.ReportEmails", body) }
        }
        unreported.reports = []
    }
}

extension SMTPSession.Answer {
    fileprivate var word: String {
        switch self {
        case .accepted: "accepted"
        case .refused(let isPermanent, _): isPermanent ? "refused" : "deferred"
        case .partly: "partly"
        case .unknown: "unknown"
        }
    }
}
