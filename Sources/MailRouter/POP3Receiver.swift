import Crypto
import CurlClient
import Foundation
import Logging
import RouterProtocol

/// Fetches what is new in a POP3 mailbox. What was looked at before is a beginning of the list, or is known to the service by its unique id.
struct POP3Receiver {
    /// Connections that may end while messages are fetched, before it is the server that is at fault.
    private static let lossLimit = 5

    private let turn: MailboxTurn
    private let delivery: Delivery
    private let signIn: () throws -> POP3Session
    private var session: POP3Session
    private let there: [POP3Session.Listed]
    /// Positions in the list that need not be looked at.
    private var known: Set<Int> = []
    private let due: Set<String>
    /// Positions whose messages the open session deletes when it ends.
    private var deleted: Set<Int> = []
    private var losses = 0
    /// The last error that ended a connection and was recovered from.
    private(set) var loss: (any Error)?
    private(set) var notes = MessageNotes()

    init(_ turn: MailboxTurn, _ delivery: Delivery, signIn: @escaping () throws -> POP3Session) throws {
        (self.turn, self.delivery, self.signIn) = (turn, delivery, signIn)
        session = try signIn()
        there = turn.mailbox.receives ? try session.list() : []
        due = Set((turn.mailbox.setAside ?? []).prefix(MailboxTurn.retryLimit))
    }

    /// Fetches it; the notes say what is to be told even when this throws.
    mutating func run(_ state: inout MailboxTurn.State) throws {
        guard turn.mailbox.receives else { return try session.close() }
        try learn(state)
        let new = there.indices.filter { !known.contains($0) }.prefix(turn.configuration.turnLimit)
        let again = there.indices.filter { known.contains($0) && due.contains(there[$0].id) }
        // What is due and not there any more needs no other attempt.
        notes.settled += due.subtracting(there.map(\.id))
        for position in new + again where !turn.isStopped() {
            guard !turn.isLong(after: delivery.counts.looked) else {
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

    /// - Returns: False when the list is another one by now, and this turn ends.
    private mutating func fetch(_ position: Int) throws -> Bool {
        let message = there[position]
        do {
            if message.size > turn.configuration.messageLimit {
                delivery.passTooLarge(UInt32(position), message.size, "UIDL \(message.id)")
            } else {
                try delivery.take(UInt32(position), try session.fetch(message.number), named: "UIDL \(message.id)")
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
            // POP3 has one folder: what can't be delivered stays in it.
            if turn.mailbox.deletesAfterProcessing, message.fate == .recorded {
                deleted.insert(Int(message.source))
                try session.delete(there[Int(message.source)].number)
            }
            finish(message)
        }
    }

    /// A session that did not end by QUIT deletes nothing (RFC 1939 section 6). What was to be deleted is looked at again in the next turn,
    /// and deleted then; its records are there already.
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

    /// Learns what was looked at before: a beginning of the list that is the same costs nothing; of what follows the service is asked.
    private mutating func learn(_ state: MailboxTurn.State) throws {
        let ids = there.map(\.id)
        var first = 0
        if let prefix = state.known, prefix.count <= ids.count, Self.digest(ids.prefix(prefix.count)) == prefix.digest {
            first = prefix.count
        }
        // A state of an earlier version holds the ids itself.
        var seen = Set(state.ids ?? []).intersection(ids)
        notes.seen += seen
        var total = 0
        for start in stride(from: first, to: ids.count, by: MailboxNotes.limit) {
            let found = try turn.knownMessages(ids.dropFirst(start).prefix(MailboxNotes.limit))
            seen.formUnion(found.value)
            total = found.total
        }
        // Most of what the service remembers is gone from the server.
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
