import Crypto
import CurlClient
import Foundation
import Logging
import MailFormat
import RouterProtocol

/// Fetches new messages of a POP3 mailbox. The beginning of the list may be known as a whole; other inspected messages are known to
/// the service by their unique ids.
struct POP3Receiver {
    /// How many connections may end during a fetch before it counts as a failure of the server.
    private static let lossLimit = 5

    private let turn: MailboxTurn
    private let delivery: Delivery
    private let signIn: () throws -> POP3Session
    private var session: POP3Session
    private let there: [POP3Session.Listed]
    /// Positions in the list that need no inspection.
    private var known: Set<Int> = []
    private let due: Set<String>
    /// Positions of messages that the server deletes when the open session ends.
    private var deleted: Set<Int> = []
    private var losses = 0
    /// The last error that ended a connection and did not end the fetch.
    private(set) var loss: (any Error)?
    private(set) var notes = MessageNotes()

    init(_ turn: MailboxTurn, _ delivery: Delivery, signIn: @escaping () throws -> POP3Session) throws {
        (self.turn, self.delivery, self.signIn) = (turn, delivery, signIn)
        session = try signIn()
        there = turn.mailbox.receives ? try session.list() : []
        due = Set((turn.mailbox.setAside ?? []).prefix(MailboxTurn.retryLimit))
    }

    /// Fetches the messages. The notes are complete even if this throws.
    mutating func run(_ state: inout MailboxTurn.State) throws {
        guard turn.mailbox.receives else { return try session.close() }
        try learn(state)
        let new = there.indices.filter { !known.contains($0) }.prefix(turn.configuration.turnLimit)
        let again = there.indices.filter { known.contains($0) && due.contains(there[$0].id) }
        // Messages that are due and no longer exist are settled.
        notes.settled += due.subtracting(there.map(\.id))
        for position in new + again where !turn.isStopped() {
            guard !turn.isLong(after: delivery.counts.looked), !delivery.isFullOfAlerts else {
                delivery.leaveRest()
                break
            }
            guard try fetch(position) else { break }
            try settle()
        }
        try delivery.finish()
        try settle()
        try session.close()
        let ids = there.indices.prefix { known.contains($0) }.map { there[$0].id }
        state = MailboxTurn.State(known: .init(count: ids.count, digest: Self.digest(ids[...])))
    }

    /// - Returns: False when the list has changed, which ends this turn.
    private mutating func fetch(_ position: Int) throws -> Bool {
        let message = there[position]
        do {
            if message.size > turn.configuration.messageLimit {
                delivery.passTooLarge(UInt32(position), message.size, "UIDL \(message.id)")
            } else {
                let bytes = try session.fetch(message.number)
                // The server says nothing of when it arrived.
                if let after = turn.receivedAfter, let date = MailMessage.arrival(of: bytes), date < after {
                    delivery.pass(UInt32(position))
                } else {
                    try delivery.take(UInt32(position), bytes, named: "UIDL \(message.id)")
                }
            }
            return true
        } catch MailError.refused(let words) {
            setAside(position, words)
            return true
        } catch let error where error is CurlError || error is MailError {
            setAside(position, "the connection ended while it was fetched: \((error as? CurlError)?.reason ?? "\(error)")")
            losses += 1
            loss = error
            guard losses <= Self.lossLimit else { throw error }
            try delivery.finish()
            forgetDeleted()
            session = try signIn()
            let list = try session.list()
            return list.map(\.id) == there.map(\.id) && list.map(\.number) == there.map(\.number)
        }
    }

    private mutating func setAside(_ position: Int, _ reason: String) {
        let id = there[position].id
        delivery.countFailure()
        notes.setAside.append((id, "UIDL \(id)", nil, reason))
        known.insert(position)
        turn.log(.warning, "message set aside", ["uidl": "\(id)", "why": "\(reason)"])
    }

    private mutating func settle() throws {
        for message in delivery.settled() {
            // POP3 has only one folder, so messages that can't be delivered stay in it.
            if turn.mailbox.deletesAfterProcessing, message.fate == .recorded {
                try delete(Int(message.source))
            }
            finish(message)
        }
    }

    private mutating func delete(_ position: Int) throws {
        do {
            try session.delete(there[position].number)
            deleted.insert(position)
        } catch MailError.refused(let words) {
            delivery.note(turn.noDeletion(["UIDL \(there[position].id)"], words))
        }
    }

    /// A session that does not end with QUIT deletes nothing (RFC 1939 section 6). The next turn inspects these messages again and
    /// deletes them. Their records exist already.
    private mutating func forgetDeleted() {
        for message in delivery.settled() {
            if turn.mailbox.deletesAfterProcessing, message.fate == .recorded {
                deleted.insert(Int(message.source))
            } else {
                finish(message)
            }
        }
        known.subtract(deleted)
        let ids = Set(deleted.map { there[$0].id })
        notes.seen.removeAll { ids.contains($0) }
        deleted = []
    }

    private mutating func finish(_ message: Delivery.Settled) {
        let position = Int(message.source)
        known.insert(position)
        notes.seen.append(there[position].id)
        if due.contains(there[position].id) { notes.settled.append(there[position].id) }
    }

    /// Finds the messages that were inspected before. If the beginning of the list is unchanged, no request is needed for it; the
    /// service is asked about the rest.
    private mutating func learn(_ state: MailboxTurn.State) throws {
        let ids = there.map(\.id)
        var first = 0
        if let prefix = state.known, prefix.count <= ids.count, Self.digest(ids.prefix(prefix.count)) == prefix.digest {
            first = prefix.count
        }
        // The state of an earlier version has the ids themselves.
        var seen = Set(state.ids ?? []).intersection(ids)
        notes.seen += seen
        var total = 0
        for start in stride(from: first, to: ids.count, by: MailboxNotes.limit) {
            let found = try turn.knownMessages(ids.dropFirst(start).prefix(MailboxNotes.limit))
            seen.formUnion(found.value)
            total = found.total
        }
        // Most messages that the service remembers no longer exist on the server.
        if first == 0, total > seen.count + 1_000 {
            notes.forgetsSeen = true
            notes.seen = Array(seen)
        }
        known = Set(ids.indices.filter { $0 < first || seen.contains(ids[$0]) })
    }

    private static func digest(_ ids: ArraySlice<String>) -> String {
        Data(SHA256.hash(data: Data(ids.joined(separator: "\n").utf8))).base64EncodedString()
    }
}

extension MailboxTurn {
    fileprivate func knownMessages(_ ids: ArraySlice<String>) throws -> KnownMessages.Answer {
        var answer = KnownMessages.Answer(value: [], total: 0)
        try persistently { answer = try client.known(ids, mailbox, host) }
        return answer
    }
}
