import CurlClient
import Foundation
import Logging
import RouterProtocol

// Sending pending e-mails.
extension MailboxTurn {
    /// How many connections may end while e-mails are sent before the server counts as failed.
    private static let lossLimit = 5
    /// How many e-mails one request takes from the service.
    private static let takenLimit = 50

    /// - Returns: Whether the turn signed in to the server.
    func send(_ counts: inout Counts) throws -> Bool {
        guard !mailbox.tests else {
            try signIn(try login(.outgoing)).close()
            return true
        }
        // Requests no password when there is nothing to send.
        var emails = try asking { try client.pending(mailbox, host, limit: Self.takenLimit) }
        guard !emails.isEmpty else { return false }
        let progress = SendingProgress { [client, mailbox, host] in try client.report($0, mailbox, host) }
        let login: MailLogin
        var session: SMTPSession
        do {
            login = try self.login(.outgoing)
            session = try signIn(login)
        } catch let problem as MailboxProblem {
            // None of these e-mails was handed over, so they are pending again.
            try postpone(emails[...], problem, progress)
            throw problem
        }
        var taken = emails.count
        var losses = 0
        while !emails.isEmpty {
            progress.begin(emails)
            for index in emails.indices {
                do {
                    try send(emails[index], session, progress, &counts) { try progress.announce(index) }
                } catch ServiceError.away(let why) {
                    // The connection is not used again, because an SMTP transaction for this e-mail may have begun on it. The
                    // e-mails after this one were not started.
                    for rest in emails[index...] { progress.note(rest, .temporary, "The service was unavailable: \(why)", 0) }
                    try persistently { try progress.flush() }
                    return true
                } catch let error where error is CurlError || error is MailError || error is MailboxProblem {
                    let problem = MailboxProblem(error, server: "\(login.server):\(login.port)", what: "sending")
                    // If the server disconnects once, only the e-mail that was being sent fails. If the server disconnects
                    // repeatedly, it counts as failed. An e-mail that was being handed over has been reported already.
                    if !(error is MailboxProblem) { progress.note(emails[index], .temporary, problem.text, problem.code) }
                    losses += 1
                    do {
                        guard losses <= Self.lossLimit else { throw problem }
                        session = try signIn(login)
                    } catch let problem as MailboxProblem {
                        try postpone(emails[(index + 1)...], problem, progress)
                        throw problem
                    }
                    counts.problems.append(problem)
                }
            }
            try persistently { try progress.flush() }
            guard taken < configuration.turnLimit, !isLong(after: taken), !isStopped() else { break }
            emails = try client.pending(mailbox, host, limit: Self.takenLimit)
            taken += emails.count
        }
        session.close()
        return true
    }

    /// Returns e-mails that were not started, so that they are tried again later.
    private func postpone(_ emails: ArraySlice<PendingEmail>, _ problem: MailboxProblem, _ progress: SendingProgress) throws {
        for email in emails { progress.note(email, .temporary, problem.text, problem.code) }
        try persistently { try progress.flush() }
    }

    private func signIn(_ login: MailLogin) throws -> SMTPSession {
        let connection = try connect(login, .smtp, implicitPort: 465)
        do {
            return try SMTPSession(connection)
        } catch {
            throw MailboxProblem(error, server: "\(login.server):\(login.port)", what: "sending")
        }
    }

    private func send(
        _ email: PendingEmail, _ session: SMTPSession, _ progress: SendingProgress, _ counts: inout Counts,
        onReady: () throws -> Void
    ) throws {
        guard let message = MessageComposer(email: email).bytes() else {
            counts.unsent["permanent", default: 0] += 1
            return progress.note(
                email, .permanent, "An attachment is not base64, so nothing was sent. Attach the file again.", AlertCode.refused)
        }
        var recipients: [String] = []
        for person in email.to + email.cc + email.bcc where !recipients.contains(person.address) {
            recipients.append(person.address)
        }
        let sender = email.from.first?.address ?? ""
        let answer = try session.send(message, from: sender, to: recipients, onReady: onReady) { keepLease() }
        switch answer {
        case .accepted:
            counts.sent += 1
            progress.note(email, .sent)
        case .refused(let isPermanent, let text):
            counts.unsent[isPermanent ? "permanent" : "temporary", default: 0] += 1
            progress.note(email, isPermanent ? .permanent : .temporary, text, Self.code(text))
        case .partly(let text):
            counts.unsent["permanent", default: 0] += 1
            progress.note(email, .permanent, text, Self.code(text))
        case .unknown(let text):
            counts.unsent["unknown", default: 0] += 1
            progress.note(email, .unknown, text, AlertCode.unknownOutcome)
            throw MailboxProblem(
                AlertCode.unreachable, "The mail server closed the connection while it was receiving a message.", text,
                isPermanent: false)
        }
        log(.debug, "sent", ["email": "\(email.emailId)", "message-id": "\(email.messageId)", "answer": "\(answer.word)"])
    }

    /// Renews the lease while the mail server is working.
    private func keepLease() {
        _ = try? client.known([String](), mailbox, host)
    }

    private static func code(_ text: String) -> Int {
        if text.contains("552") || text.contains("5.3.4") { return AlertCode.tooLarge }
        if text.contains("452") || text.contains("5.2.2") || text.contains("4.2.2") { return AlertCode.mailboxFull }
        return AlertCode.refused
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
