import Foundation
import JSON
import Model
import PostgresClient
import Records
import Tenancy

/// Delivers e-mails of one mailbox in one transaction, with as few round trips as possible.
///
/// One round trip makes all lookups, and another one writes the records. An e-mail that may answer another e-mail of the batch
/// waits until that e-mail is written.
struct IncomingBatch {
    private let delivery: EmailDelivery
    private let mailbox: UUID?
    private let place: EmailDelivery.Place
    private var results: [EmailDelivery.Delivery] = []
    /// Records that are not written yet, each with the index of its result.
    private var unwritten: [(index: Int, record: IncomingRecord)] = []
    /// The records of this batch.
    private var ids: Set<UUID> = []

    init(_ delivery: EmailDelivery, _ mailbox: UUID?, _ place: EmailDelivery.Place) {
        (self.delivery, self.mailbox, self.place) = (delivery, mailbox, place)
    }

    /// Delivers the e-mails in order.
    mutating func deliver(
        _ emails: [IncomingEmail], on connection: isolated PostgresConnection
    ) throws -> [EmailDelivery.Delivery] {
        guard !emails.isEmpty else { return [] }
        let facts = try delivery.facts(about: emails, mailbox, on: connection)
        for (email, facts) in zip(emails, facts) { try deliver(email, facts, on: connection) }
        try write(on: connection)
        return results
    }

    private mutating func deliver(
        _ email: IncomingEmail, _ facts: EmailDelivery.Facts, on connection: isolated PostgresConnection
    ) throws {
        if unwritten.contains(where: { email.mayAnswer($0.record.email, in: place) }) { try write(on: connection) }
        let organization = delivery.session.organization
        let id = email.recordID(organization: organization.id, mailbox: mailbox ?? organization.id)
        let verdict = try delivery.verdict(on: email, facts, place, on: connection)
        guard verdict.isDelivered, ids.insert(id).inserted else {
            let isDuplicate = verdict.isDelivered || verdict.reason == .duplicate
            return results.append(isDuplicate ? Self.duplicate(id) : (nil, verdict))
        }
        var regarding: (id: UUID, type: String)?
        if let parent = verdict.parent { regarding = try delivery.countAnswer(to: parent, on: connection) }
        unwritten.append((results.count, delivery.record(of: email, id, mailbox, place, verdict, regarding)))
        results.append((id, verdict))
    }

    private mutating func write(on connection: isolated PostgresConnection) throws {
        guard !unwritten.isEmpty else { return }
        let statements = IncomingRecord.statements(for: unwritten.map(\.record), in: delivery.session.organization)
        let made = Set(try connection.pipeline(statements)[0].map { try $0.decode(0, as: UUID.self) })
        for (index, record) in unwritten where !made.contains(record.id) {
            // Another router delivered it first.
            results[index] = Self.duplicate(record.id)
        }
        unwritten = []
    }

    private static func duplicate(_ id: UUID) -> EmailDelivery.Delivery {
        (id, IncomingVerdict(isDelivered: false, reason: .duplicate))
    }
}

extension IncomingEmail {
    /// The Message-IDs that it may answer, in lower case.
    var answeredIDs: [String] { inReplyTo.prefix(100).map { $0.lowercased() } }

    /// Whether it may answer another e-mail of the same batch.
    fileprivate func mayAnswer(_ other: IncomingEmail, in place: EmailDelivery.Place) -> Bool {
        if place.matchesSubjects { return true }
        if place.correlatesHeaders, !inReplyTo.isEmpty, answeredIDs.contains(other.messageID.lowercased()) { return true }
        return trackingToken != nil && trackingToken == other.trackingToken
    }
}
