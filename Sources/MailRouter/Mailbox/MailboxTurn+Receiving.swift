import CurlClient
import Foundation
import Logging
import RouterProtocol

// Fetching incoming mail.
extension MailboxTurn {
    /// How many messages that were set aside one turn fetches again.
    static let retryLimit = 20

    /// Fetches new messages.
    ///
    /// - Returns: The connection that waits for further messages; nil if there is none.
    func receive(_ state: inout State, _ counts: inout Counts) throws -> IdleConnection? {
        let access = IncomingAccess(self)
        let delivery = Delivery(self)
        var notes = MessageNotes()
        var waiting: IdleConnection?
        defer { counts += delivery.counts }
        do {
            if mailbox.serverType == MailServerType.pop3.rawValue {
                var receiver = try POP3Receiver(self, delivery) {
                    POP3Session(try access.connect(.pop3, implicitPort: 995), limit: configuration.messageLimit)
                }
                defer { notes = receiver.notes }
                try receiver.run(&state)
                noteLoss(receiver.loss, access, delivery)
            } else {
                waiting = try receiveIMAP(access, &state, delivery, &notes)
            }
            try tell(notes)
            return waiting
        } catch let error as ServiceError {
            throw error
        } catch {
            // The messages that arrived before the failure are still delivered.
            try delivery.finish()
            try tell(notes)
            throw MailboxProblem(error, server: access.server, what: "the mailbox \(mailbox.address)")
        }
    }

    /// Sends notes about single messages to the service. The notes are sent before the report that moves the router's position past
    /// these messages.
    private func tell(_ notes: MessageNotes) throws {
        guard !notes.isEmpty else { return }
        for request in notes.requests(mailbox, host) { try persistently { try client.note(request) } }
    }

    var receivedAfter: Date? { mailbox.processesReceivedAfter.flatMap { try? Date($0, strategy: .iso8601) } }

    // MARK: IMAP

    private func receiveIMAP(
        _ access: IncomingAccess, _ state: inout State, _ delivery: Delivery, _ notes: inout MessageNotes
    ) throws -> IdleConnection? {
        let writes = mailbox.deletesAfterProcessing || mailbox.undeliverableFolder != nil
        func signIn() throws -> IMAPSession {
            IMAPSession(try access.connect(.imap, implicitPort: 993), limit: configuration.messageLimit)
        }
        var session: IMAPSession
        let folder: IMAPSession.Folder
        if let (kept, opened) = access.keptSession(writes: writes) {
            (session, folder) = (kept, opened)
        } else {
            session = try signIn()
            folder = try session.open(writes: writes)
        }
        guard mailbox.receives else {
            session.close()
            return nil
        }
        // If UIDVALIDITY changed, the server has numbered its messages anew, and all messages are inspected again. A message that
        // is a record already does not become a second record.
        if state.validity != folder.validity { state = State(validity: folder.validity, uid: 0) }
        restart(&state, in: folder, access, delivery)
        // The highest possible UID has no successor.
        let (first, isLast) = (state.uid ?? 0).addingReportingOverflow(1)
        let isNew = !isLast && (folder.next == 0 || first < folder.next)
        let found = isNew ? try session.list(from: first, next: folder.next, limit: configuration.turnLimit) : []
        var fetcher = IMAPFetcher(session, validity: folder.validity, writes: writes, reconnect: signIn)
        try receive(found, &fetcher, &state, delivery, &notes)
        try retry(&fetcher, folder.validity, &state, delivery, &notes)
        noteLoss(fetcher.loss, access, delivery)
        // A mailbox with messages left over is due again at once.
        let isComplete = found.count < configuration.turnLimit && fetcher.loss == nil && !delivery.counts.isUnfinished
        return fetcher.withSession { access.wait(on: &$0, isComplete: isComplete) }
    }

    /// Inspects all messages again if the server is about to assign UIDs that the router has passed already. A server that was
    /// restored from a backup assigns UIDs again. Without this check, new messages on a restored server would be skipped.
    private func restart(_ state: inout State, in folder: IMAPSession.Folder, _ access: IncomingAccess, _ delivery: Delivery) {
        // A server that has used the highest possible UID may still name it as the next one.
        guard let uid = state.uid, folder.next != 0, folder.next <= uid, folder.next != .max else { return }
        delivery.note(
            .init(
                AlertCode.numberedAnew,
                "The server of \(mailbox.address) gives new messages UIDs that it gave before: the next one is \(folder.next), and the router is past UID \(uid). Either the server was restored from a backup, or router_state was changed with SQL. The router looks at all messages again. A message that is a record already does not become a second one.",
                "\(access.server), UIDVALIDITY \(folder.validity)", isPermanent: false))
        log(.warning, "the mail server renumbered its messages", ["next": "\(folder.next)", "past": "\(uid)"])
        state.uid = 0
    }

    /// Adds an alert that a connection ended. The turn continued on another connection, so the turn has not failed.
    private func noteLoss(_ error: (any Error)?, _ access: IncomingAccess, _ delivery: Delivery) {
        guard let error else { return }
        delivery.note(MailboxProblem(error, server: access.server, what: "the mailbox \(mailbox.address)"))
    }

    private func receive(
        _ found: [IMAPSession.Listed], _ fetcher: inout IMAPFetcher, _ state: inout State, _ delivery: Delivery,
        _ notes: inout MessageNotes
    ) throws {
        if let oldest = found.lazy.compactMap(\.arrivedOn).min() { delivery.arrived(on: oldest) }
        var unfinished = Set(found.map(\.uid))
        var batch: [UInt32] = []
        var size = 0
        for (index, message) in found.enumerated() {
            let isLast = index == found.count - 1
            if message.size > configuration.messageLimit {
                delivery.passTooLarge(message.uid, message.size, "UID \(message.uid)")
            } else if let after = receivedAfter, let date = message.arrivedOn, date < after {
                delivery.skip(message.uid)
            } else {
                batch.append(message.uid)
                size += message.size
            }
            guard batch.count >= 100 || size >= 4 << 20 || isLast || isStopped() || delivery.isFullOfAlerts else { continue }
            try fetch(batch, &fetcher, state.validity ?? 0, delivery, &notes, &unfinished)
            (batch, size) = ([], 0)
            let isOver = !isLast && (isLong(after: delivery.counts.inspected) || delivery.isFullOfAlerts)
            if isOver { delivery.leaveRest() }
            if isLast || isOver || isStopped() { try delivery.finish() }
            try settle(delivery.settled(), &fetcher, delivery, &unfinished)
            // The position moves past a message only if that message and all messages before it are records, were set aside, or
            // were skipped.
            let past = unfinished.min().map { $0 - 1 } ?? message.uid
            state.uid = max(state.uid ?? 0, min(past, message.uid))
            if isOver || isStopped() { break }
        }
    }

    private func fetch(
        _ batch: [UInt32], _ fetcher: inout IMAPFetcher, _ validity: UInt32, _ delivery: Delivery, _ notes: inout MessageNotes,
        _ unfinished: inout Set<UInt32>
    ) throws {
        guard !batch.isEmpty else { return }
        let failures = try fetcher.fetch(batch, isStopped: isStopped) { uid, bytes, arrivedOn in
            try delivery.enqueue(uid, bytes, named: "UID \(uid)", arrivedOn: arrivedOn)
        } gone: {
            delivery.skip($0)
        }
        for failure in failures {
            delivery.countFailure()
            notes.setAside.append(("\(validity):\(failure.uid)", "UID \(failure.uid)", failure.messageID, failure.reason))
            unfinished.remove(failure.uid)
            log(.warning, "message set aside", ["uid": "\(failure.uid)", "error": "\(failure.reason)"])
        }
    }

    /// Fetches messages that were set aside and are due again.
    private func retry(
        _ fetcher: inout IMAPFetcher, _ validity: UInt32, _ state: inout State, _ delivery: Delivery, _ notes: inout MessageNotes
    ) throws {
        let due = (mailbox.setAside ?? []).prefix(Self.retryLimit)
        for name in due where !isStopped() {
            let parts = name.split(separator: ":")
            // A name from before a change of UIDVALIDITY is settled, because all messages were inspected again after the change.
            guard parts.count == 2, UInt32(parts[0]) == validity, let uid = UInt32(parts[1]) else {
                notes.settled.append(name)
                continue
            }
            var unfinished: Set = [uid]
            try fetch([uid], &fetcher, validity, delivery, &notes, &unfinished)
            try delivery.finish()
            try settle(delivery.settled(), &fetcher, delivery, &unfinished)
            if !notes.setAside.contains(where: { $0.uid == name }) { notes.settled.append(name) }
        }
    }
}
