import CurlClient
import Foundation
import Logging

// Fetching what came.
extension MailboxTurn {
    func receive(_ state: inout State, _ counts: inout Counts) throws {
        let login = try login("Incoming")
        let server = "\(login.server):\(login.port)"
        let delivery = Delivery(self)
        defer { counts += delivery.counts }
        do {
            if login.serverType == 1 {
                try receivePOP3(login, &state, delivery)
            } else {
                try receiveIMAP(login, &state, delivery)
            }
        } catch let error as ServiceError {
            throw error
        } catch {
            // What the server gave before it failed is not lost on the way.
            try delivery.finish()
            throw MailboxProblem(error, server: server, what: "the mailbox \(mailbox.address)")
        }
    }

    private var receivedAfter: Date? { mailbox.processesReceivedAfter.flatMap { try? Date($0, strategy: .iso8601) } }

    private func receiveIMAP(_ login: Login, _ state: inout State, _ delivery: Delivery) throws {
        var session = IMAPSession(try connect(login, "imap", implicitPort: 993), limit: configuration.messageLimit)
        let folder = try session.open(writes: mailbox.deletesAfterProcessing || mailbox.undeliverableFolder != nil)
        guard mailbox.receives else { return session.close() }
        // Other numbers for the same messages: what is there is looked at again, and what is a record stays one.
        if state.validity != folder.validity { state = State(validity: folder.validity, uid: 0) }
        // The highest UID that there can be has no next one.
        let (first, isLast) = (state.uid ?? 0).addingReportingOverflow(1)
        guard !isLast, folder.next == 0 || first < folder.next else { return session.close() }
        let found = try session.list(from: first, next: folder.next, limit: configuration.turnLimit)
        if let oldest = found.lazy.compactMap(\.arrivedOn).min() { delivery.arrived(on: oldest) }
        var batch: [UInt32] = []
        var size = 0
        for (index, message) in found.enumerated() {
            let isLast = index == found.count - 1
            if message.size > configuration.messageLimit {
                delivery.passTooLarge(message.uid, message.size, "UID \(message.uid)")
            } else if let after = receivedAfter, let date = message.arrivedOn, date < after {
                delivery.pass(message.uid)
            } else {
                batch.append(message.uid)
                size += message.size
            }
            guard batch.count >= 100 || size >= 4 << 20 || isLast || isStopped() else { continue }
            if !batch.isEmpty { try session.fetch(batch) { uid, bytes in try delivery.take(uid, bytes, named: "UID \(uid)") } }
            (batch, size) = ([], 0)
            if isLast || isStopped() { try delivery.finish() }
            try settle(delivery.settled(), &session, &state)
            if isStopped() { break }
        }
        session.close()
    }

    private func settle(_ settled: [Delivery.Settled], _ session: inout IMAPSession, _ state: inout State) throws {
        if let folder = mailbox.undeliverableFolder {
            let bad = settled.filter(\.isUndeliverable).map(\.source)
            if !bad.isEmpty { try session.move(bad, to: folder) }
        }
        let good = settled.filter { !$0.isUndeliverable }.map(\.source)
        if mailbox.deletesAfterProcessing, !good.isEmpty { try session.delete(good) }
        if let last = settled.map(\.source).max() { state.uid = max(state.uid ?? 0, last) }
    }

    private func receivePOP3(_ login: Login, _ state: inout State, _ delivery: Delivery) throws {
        let session = POP3Session(try connect(login, "pop3", implicitPort: 995), limit: configuration.messageLimit)
        guard mailbox.receives else { return try session.close() }
        let there = try session.list()
        var known = Set(state.ids ?? [])
        known.formIntersection(there.map(\.id))
        defer { state.ids = Array(known) }
        let new = there.filter { !known.contains($0.id) }.prefix(configuration.turnLimit)
        let ids = Dictionary(new.map { (UInt32(clamping: $0.number), $0.id) }) { first, _ in first }
        func settle() throws {
            for message in delivery.settled() {
                // POP3 has one folder: what can't be delivered stays in it.
                if mailbox.deletesAfterProcessing, !message.isUndeliverable { try session.delete(Int(message.source)) }
                if let id = ids[message.source] { known.insert(id) }
            }
        }
        for message in new {
            let number = UInt32(clamping: message.number)
            if message.size > configuration.messageLimit {
                delivery.passTooLarge(number, message.size, "UIDL \(message.id)")
            } else {
                try delivery.take(number, try session.fetch(message.number), named: "UIDL \(message.id)")
            }
            try settle()
            if isStopped() { break }
        }
        try delivery.finish()
        try settle()
        try session.close()
    }
}
