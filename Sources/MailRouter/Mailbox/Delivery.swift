import Foundation
import Logging
import MailFormat
import RouterProtocol

/// Sends messages to the service, several in one request. The next messages are fetched while a request is processed.
final class Delivery {
    /// The outcome for one message.
    struct Acknowledged {
        /// The message's UID in IMAP, or its position in the list in POP3.
        let source: UInt32
        let fate: Fate
    }

    /// What became of a message. If a message contains several e-mails with different fates, the message has the fate that is
    /// declared last here.
    enum Fate: Int {
        /// A record holds all of the message, so the message may be deleted from the server.
        case recorded
        /// The message stays on the server without an alert: it was skipped, a filter refuses it, or it has contents besides the
        /// messages that it forwards.
        case left
        /// The message stays on the server, or is moved there, because no record can hold all of it. An alert names the message.
        case undeliverable
    }

    private struct Email: Sendable {
        let source: UInt32
        /// The message's name in an alert, such as its UID.
        let name: String
        let content: IncomingDelivery.Email
        /// The part of the message that the record can't hold; nil if there is none.
        let loss: String?
        /// Whether attachments are left out.
        let isIncomplete: Bool
    }

    /// The results of one request.
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
    /// The number of the request that is being filled.
    private var number = 0
    /// Inspected messages, each with the request after which its outcome is known.
    private var inspected: [(source: UInt32, number: Int)] = []
    /// The outcomes of messages that are not settled yet.
    private var fates: [UInt32: Fate] = [:]
    private var underWay: BackgroundTask<Outcome>?
    private(set) var counts = MailboxTurn.Counts()

    init(_ turn: MailboxTurn) { self.turn = turn }

    /// Parses a message, and sends the gathered messages when they fill a request.
    ///
    /// - Parameter arrivedOn: When the message was delivered, if the server gives the time. This time replaces a missing Date
    ///   header.
    /// - Throws: ``ServiceError``.
    func enqueue(_ source: UInt32, _ bytes: [UInt8], named name: String, arrivedOn: Date? = nil) throws {
        counts.fetched += 1
        let message = MailMessage(bytes, keepsMessages: turn.mailbox.isForward)
        // In a forward mailbox, the messages to process are attachments of the messages that arrive.
        let wrapped = turn.mailbox.isForward ? message.messages : []
        // The forwarding author's own text and attachments are in none of these messages, so the outer message stays on the
        // server.
        if !wrapped.isEmpty, message.saysMore { fates[source] = .left }
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

    /// How many e-mails the first request has at most, so that the service gets it soon.
    private static let firstLimit = 25

    /// How many e-mails the current request has at most.
    private var limit: Int { number == 0 ? Self.firstLimit : IncomingDelivery.limit }

    private func note(_ source: UInt32) {
        counts.inspected += 1
        inspected.append((source, number))
    }

    /// Notes the arrival time of the oldest message that was found.
    func arrived(on date: Date) { counts.oldestArrival = date }

    /// Adds an alert.
    func note(_ problem: MailboxProblem) { counts.problems.append(problem) }

    /// Notes that the turn ends before it has inspected all messages.
    func leaveRest() { counts.isUnfinished = true }

    /// Whether the alerts fill half of a report, so that the turn has to end. The other half is kept for the alerts of requests
    /// under way.
    var isFullOfAlerts: Bool { counts.problems.count >= MailboxReport.alertLimit / 2 }

    /// Counts a message that could not be fetched.
    func countFailure() { counts.failed += 1 }

    /// Notes a message that is skipped.
    func skip(_ source: UInt32) { note(source) }

    /// Notes a message that exceeds the size limit.
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

    /// Messages whose requests were answered since the last call, in the order of their inspection.
    func settled() -> [Acknowledged] {
        let isIdle = underWay == nil && emails.isEmpty
        let end = inspected.firstIndex { !isIdle && $0.number >= number - (underWay == nil ? 0 : 1) } ?? inspected.endIndex
        defer { inspected.removeFirst(end) }
        return inspected[..<end].map { Acknowledged(source: $0.source, fate: fates.removeValue(forKey: $0.source) ?? .left) }
    }

    /// Sends the remaining messages, and waits for the responses.
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
        underWay = BackgroundTask { try Self.submit(emails, turn) }
    }

    private func wait() throws {
        guard let task = underWay else { return }
        underWay = nil
        let outcome = try task.result()
        counts += outcome.counts
        // The e-mails of one message may be in several requests.
        fates.merge(outcome.fates) { $0.rawValue > $1.rawValue ? $0 : $1 }
    }

    /// The statuses with which the service refuses the contents of a request. Any other refusal is not about a message, so no
    /// message is skipped because of it.
    private static let refusalsOfContent = [400, 413]

    /// Sends messages to the service. A message that the service rejects is skipped, so that the other messages are still
    /// delivered.
    private static func submit(_ emails: [Email], _ turn: MailboxTurn) throws -> Outcome {
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
                        "email": "\(verdict.emailId ?? "none")", "incomplete": "\(verdict.isIncomplete ?? false)",
                    ])
            }
        } catch ServiceError.refused(let status, let code, let text) where refusalsOfContent.contains(status) && code != "token" {
            guard emails.count > 1 else {
                outcome.counts.failed += 1
                outcome.note(.undeliverable, of: emails[0].source)
                outcome.counts.problems.append(undeliverable(emails[0], turn, "the service refused it: [\(code)] \(text)"))
                turn.log(
                    .warning, "the service refused a message",
                    ["message-id": "\(emails[0].content.messageId)", "code": "\(code)", "error": "\(text)"])
                return outcome
            }
            for email in emails {
                let one = try submit([email], turn)
                outcome.counts += one.counts
                for (source, fate) in one.fates { outcome.note(fate, of: source) }
            }
        }
        return outcome
    }

    /// An alert that names a message, so that it does not replace the alert of another message.
    private static func undeliverable(_ email: Email, _ turn: MailboxTurn, _ reason: String) -> MailboxProblem {
        let place =
            turn.mailbox.undeliverableFolder.map { "It is moved to the folder \($0), if the server has folders and allows it." }
            ?? "It stays in the mailbox."
        let name = "\(email.name), Message-ID \(email.content.messageId.isEmpty ? "none" : email.content.messageId)"
        return MailboxProblem(
            AlertCode.undeliverable, "A message of \(turn.mailbox.address) did not become a record (\(name)). \(place)",
            "\(name): \(reason)", isPermanent: true)
    }

    /// An alert that names a message whose record does not show all of it, and whose original was too large to keep.
    private static func incomplete(_ email: Email, _ turn: MailboxTurn, _ loss: String) -> MailboxProblem {
        let name = "\(email.name), Message-ID \(email.content.messageId.isEmpty ? "none" : email.content.messageId)"
        return MailboxProblem(
            AlertCode.tooLarge,
            "The record of a message of \(turn.mailbox.address) does not show all of it (\(name)), and the message is too large to be kept with it. Look for it in the mailbox, where it is not deleted.",
            "\(name): \(loss)", isPermanent: true)
    }

    private static func fate(of email: Email, _ verdict: IncomingDelivery.Verdict) -> Fate {
        if verdict.hasRecord { return email.isIncomplete || verdict.isIncomplete == true ? .undeliverable : .recorded }
        return verdict.failure == nil ? .left : .undeliverable
    }
}

extension IncomingDelivery.Verdict {
    /// Dataverse's reasons: a record exists already, no recipient belongs to the organization, the mailbox itself is the sender, or
    /// there is no sender.
    private static let duplicate = 0
    private static let noRecipient = 3
    private static let ownMessage = 4
    private static let badSender = 7

    fileprivate var hasRecord: Bool { shouldDeliver || [Self.duplicate, Self.ownMessage].contains(reasonCode) }

    /// Why the e-mail can't become a record; nil if it is a record, or a filter refuses it.
    fileprivate var failure: String? {
        switch (shouldDeliver, reasonCode) {
        case (false, Self.badSender): "it does not say who sent it"
        case (false, Self.noRecipient):
            "it is addressed to no enabled user and no active queue, and the mailbox belongs to no user and no queue"
        default: nil
        }
    }
}
