import Foundation
import JSON
import Model
import PostgresClient
import Records
import Tenancy

/// E-mails of one mailbox that become records in one transaction, in as few round trips as they allow.
///
/// The questions about all of them are one round trip, and so are the records. An e-mail that may answer another one waits until the
/// records before it are written, since the other one may be among them.
struct IncomingBatch {
    private let delivery: EmailDelivery
    private let mailbox: UUID?
    private let place: EmailDelivery.Place
    private var results: [EmailDelivery.Delivery] = []
    /// Records that are not written yet: which result each is of, and its statements.
    private var unwritten: [(index: Int, statements: [(sql: String, parameters: [PostgresParameter])])] = []
    /// The records of this batch.
    private var ids: Set<UUID> = []

    init(_ delivery: EmailDelivery, _ mailbox: UUID?, _ place: EmailDelivery.Place) {
        (self.delivery, self.mailbox, self.place) = (delivery, mailbox, place)
    }

    /// Delivers them in their order.
    mutating func deliver(
        _ emails: [IncomingEmail], on connection: isolated PostgresConnection
    ) throws -> [EmailDelivery.Delivery] {
        guard !emails.isEmpty else { return [] }
        let facts = try connection.pipeline(emails.map { delivery.facts($0, mailbox) })
        for (email, facts) in zip(emails, facts) { try deliver(email, facts, on: connection) }
        try write(on: connection)
        return results
    }

    private mutating func deliver(
        _ email: IncomingEmail, _ facts: PostgresResult, on connection: isolated PostgresConnection
    ) throws {
        if email.mayAnswer(in: place) { try write(on: connection) }
        let id = email.recordID(
            organization: delivery.session.organization.id, mailbox: mailbox ?? delivery.session.organization.id)
        let verdict = try delivery.verdict(on: email, facts, place, on: connection)
        guard verdict.isDelivered, ids.insert(id).inserted else {
            let isDuplicate = verdict.isDelivered || verdict.reason == .duplicate
            return results.append(isDuplicate ? Self.duplicate(id) : (nil, verdict))
        }
        unwritten.append((results.count, try delivery.insertion(email, id, mailbox, place, verdict, on: connection)))
        results.append((id, verdict))
    }

    private mutating func write(on connection: isolated PostgresConnection) throws {
        guard !unwritten.isEmpty else { return }
        let answers = try connection.pipeline(unwritten.flatMap(\.statements))
        var first = 0
        for (index, statements) in unwritten {
            // Another router was quicker.
            if answers[first].isEmpty, let id = results[index].id { results[index] = Self.duplicate(id) }
            first += statements.count
        }
        unwritten = []
    }

    private static func duplicate(_ id: UUID) -> EmailDelivery.Delivery {
        (id, IncomingVerdict(isDelivered: false, reason: .duplicate))
    }
}

extension IncomingEmail {
    /// Whether what it answers is looked for.
    fileprivate func mayAnswer(in place: EmailDelivery.Place) -> Bool {
        place.matchesSubjects || place.correlatesHeaders && !inReplyTo.isEmpty || trackingToken != nil
    }
}
