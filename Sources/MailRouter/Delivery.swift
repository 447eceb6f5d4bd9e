import Foundation
import Logging
import MailFormat
import RouterProtocol

/// Messages on their way to the service, several in one request. While one request is answered, the next messages are fetched.
final class Delivery {
    /// What became of a message.
    struct Settled {
        /// Its UID, or its number.
        let source: UInt32
        let fate: Fate
    }

    /// Where a message is now. Of several in one message the last one of these counts.
    enum Fate: Int {
        /// In a record, which holds all of it: it may be deleted from the server.
        case recorded
        /// On the server, and nowhere else: it is older than what is wanted, or a filter refuses it.
        case left
        /// On the server, and an alert names it: no router can make it a record that holds all of it.
        case undeliverable
    }

    private struct Email: Sendable {
        let source: UInt32
        /// How an alert names it: its UID.
        let name: String
        let content: IncomingDelivery.Email
        /// What its record does not hold in any way; nil for nothing.
        let loss: String?
        /// Whether attachments are left out.
        let isIncomplete: Bool
    }

    /// What one request came to.
    private struct Outcome: Sendable {
        var counts = MailboxTurn.Counts()
        var fates: [UInt32: Fate] = [:]

        mutating func note(_ fate: Fate, of source: UInt32) {
            if fates[source].map({ $0.rawValue < fate.rawValue }) ?? true { fates[source] = fate }
        }
    }

    private let turn: MailboxTurn
    private var emails: [Email] = []
    private var size = 0
    /// The number of the request that is being gathered.
    private var number = 0
    /// Messages that were looked at, with the request after which they are settled.
    private var looked: [(source: UInt32, number: Int)] = []
    /// What became of messages that are not settled yet.
    private var fates: [UInt32: Fate] = [:]
    private var underWay: BackgroundTask<Outcome>?
    private(set) var counts = MailboxTurn.Counts()

    init(_ turn: MailboxTurn) { self.turn = turn }

    /// Takes a message apart, and sends what is gathered when it is much.
    ///
    /// - Parameter arrivedOn: When it was delivered, if the server says so: its date where it has none of its own.
    /// - Throws: ``ServiceError``.
    func take(_ source: UInt32, _ bytes: [UInt8], named name: String, arrivedOn: Date? = nil) throws {
        counts.fetched += 1
        let message = MailMessage(bytes, keepsMessages: turn.mailbox.isForward)
        // A forward mailbox's messages carry those that they are about.
        let wrapped = turn.mailbox.isForward ? message.messages : []
        for (bytes, message) in wrapped.isEmpty ? [(bytes, message)] : wrapped.map({ ($0, MailMessage($0)) }) {
            let email = IncomingParameters(message, bytes, arrivedOn: arrivedOn, attachmentLimit: turn.mailbox.attachmentLimit)
            if size + email.size > IncomingLimits.requestBytes { try send() }
            emails.append(
                Email(source: source, name: name, content: email.content, loss: email.loss, isIncomplete: email.isIncomplete))
            size += email.size
            if emails.count >= limit || size >= IncomingDelivery.sizeLimit { try send() }
        }
        note(source)
    }

    /// E-mails of the first request: the service is not to wait for long.
    private static let firstLimit = 25

    /// E-mails of the request that is being gathered.
    private var limit: Int { number == 0 ? Self.firstLimit : IncomingDelivery.limit }

    private func note(_ source: UInt32) {
        counts.looked += 1
        looked.append((source, number))
    }

    /// Notes when the oldest message that was found had arrived.
    func arrived(on date: Date) { counts.oldestArrival = date }

    /// Adds an alert.
    func note(_ problem: MailboxProblem) { counts.problems.append(problem) }

    /// Notes that more messages are there, for which the turn has no time.
    func leaveRest() { counts.isUnfinished = true }

    /// Counts a message that could not be fetched.
    func countFailure() { counts.failed += 1 }

    /// Notes a message that is left alone.
    func pass(_ source: UInt32) { note(source) }

    /// Notes a message that is larger than is fetched.
    func passTooLarge(_ source: UInt32, _ size: Int, _ name: String) {
        counts.failed += 1
        counts.problems.append(
            .init(
                AlertCode.tooLarge,
                "A message of \(turn.mailbox.address) (\(name)) was not fetched, because it is larger than \(turn.configuration.messageLimit >> 20) MiB. Look for it in the mailbox.",
                "\(name), \(size) bytes", isPermanent: true))
        turn.log(.warning, "message too large", ["message": "\(name)", "bytes": "\(size)"])
        fates[source] = .undeliverable
        note(source)
    }

    /// Messages whose requests were answered since the last call, in the order in which they were looked at.
    func settled() -> [Settled] {
        let isIdle = underWay == nil && emails.isEmpty
        let end = looked.firstIndex { !isIdle && $0.number >= number - (underWay == nil ? 0 : 1) } ?? looked.endIndex
        defer { looked.removeFirst(end) }
        return looked[..<end].map { Settled(source: $0.source, fate: fates.removeValue(forKey: $0.source) ?? .left) }
    }

    /// Sends the rest, and waits for the answers.
    ///
    /// - Throws: ``ServiceError``.
    func finish() throws {
        try send()
        try wait()
    }

    private func send() throws {
        try wait()
        guard !emails.isEmpty else { return }
        let (turn, emails) = (turn, emails)
        (self.emails, size) = ([], 0)
        number += 1
        underWay = BackgroundTask { try Self.hand(emails, turn) }
    }

    private func wait() throws {
        guard let task = underWay else { return }
        underWay = nil
        let outcome = try task.result()
        counts += outcome.counts
        // One message may have parts in several requests.
        fates.merge(outcome.fates) { $0.rawValue > $1.rawValue ? $0 : $1 }
    }

    /// Hands messages to the service. One that it can't take is passed over: a bad message must not hold up the others.
    private static func hand(_ emails: [Email], _ turn: MailboxTurn) throws -> Outcome {
        var outcome = Outcome()
        do {
            let contents = emails.map(\.content)
            var verdicts: [IncomingDelivery.Verdict] = []
            try turn.persistently { verdicts = try turn.client.deliver(contents, turn.mailbox, turn.host) }
            for (email, verdict) in zip(emails, verdicts) {
                if verdict.shouldDeliver {
                    outcome.counts.processed += 1
                } else {
                    outcome.counts.refused[verdict.reasonCode, default: 0] += 1
                }
                outcome.note(fate(of: email, verdict), of: email.source)
                if let loss = email.loss, verdict.hasRecord { outcome.counts.problems.append(incomplete(email, turn, loss)) }
                if let reason = verdict.failure {
                    outcome.counts.failed += 1
                    outcome.counts.problems.append(undeliverable(email, turn, reason))
                }
                turn.log(
                    .debug, "message",
                    [
                        "message-id": "\(email.content.messageId)", "reason": "\(verdict.reasonCode)",
                        "email": "\(verdict.emailId ?? "none")",
                    ])
            }
        } catch ServiceError.refused(let status, let code, let text)
            where (400..<500).contains(status) && status != 401 && status != 403
        {
            guard emails.count > 1 else {
                outcome.counts.failed += 1
                outcome.note(.undeliverable, of: emails[0].source)
                outcome.counts.problems.append(undeliverable(emails[0], turn, "the service refused it: [\(code)] \(text)"))
                turn.log(
                    .warning, "message not taken",
                    ["message-id": "\(emails[0].content.messageId)", "code": "\(code)", "why": "\(text)"])
                return outcome
            }
            for email in emails {
                let one = try hand([email], turn)
                outcome.counts += one.counts
                for (source, fate) in one.fates { outcome.note(fate, of: source) }
            }
        }
        return outcome
    }

    /// An alert that names a message, so that one does not take the place of another's.
    private static func undeliverable(_ email: Email, _ turn: MailboxTurn, _ reason: String) -> MailboxProblem {
        let place =
            turn.mailbox.undeliverableFolder.map { "It is moved to the folder \($0) where the server has folders." }
            ?? "It stays in the mailbox."
        let name = "\(email.name), Message-ID \(email.content.messageId.isEmpty ? "none" : email.content.messageId)"
        return MailboxProblem(
            AlertCode.undeliverable, "A message of \(turn.mailbox.address) did not become a record (\(name)). \(place)",
            "\(name): \(reason)", isPermanent: true)
    }

    /// An alert that names a message whose record does not show all of it, and has no room for the message itself.
    private static func incomplete(_ email: Email, _ turn: MailboxTurn, _ loss: String) -> MailboxProblem {
        let name = "\(email.name), Message-ID \(email.content.messageId.isEmpty ? "none" : email.content.messageId)"
        return MailboxProblem(
            AlertCode.tooLarge,
            "The record of a message of \(turn.mailbox.address) does not show all of it (\(name)), and the message is too large to be kept with it. Look for it in the mailbox, where it is not deleted.",
            "\(name): \(loss)", isPermanent: true)
    }

    private static func fate(of email: Email, _ verdict: IncomingDelivery.Verdict) -> Fate {
        if verdict.hasRecord { return email.isIncomplete ? .undeliverable : .recorded }
        return verdict.failure == nil ? .left : .undeliverable
    }
}

extension IncomingDelivery.Verdict {
    /// The original's reasons: there is a record already, it has no recipient here, the mailbox sent it itself, and it has no sender.
    private static let duplicate = 0
    private static let noRecipient = 3
    private static let ownMessage = 4
    private static let badSender = 7

    fileprivate var hasRecord: Bool { shouldDeliver || [Self.duplicate, Self.ownMessage].contains(reasonCode) }

    /// Why it can't be a record; nil where it is one, or a filter refuses it.
    fileprivate var failure: String? {
        switch (shouldDeliver, reasonCode) {
        case (false, Self.badSender): "nothing in it says who sent it"
        case (false, Self.noRecipient):
            "it is addressed to no enabled user and no active queue, and the mailbox belongs to none"
        default: nil
        }
    }
}
