import Foundation
import JSON
import Model
import PostgresClient
import Records
import Tenancy

/// Delivers e-mails of one mailbox in one transaction, with as few round trips as possible.
///
/// One round trip makes all lookups, and another round trip writes the records. An e-mail that may answer another e-mail of the
/// batch waits until that e-mail is written.
struct IncomingBatch {
    private let delivery: EmailDelivery
    private let mailbox: UUID?
    private let place: EmailDelivery.Place
    /// Whether to refuse an e-mail if its record would lack a part of the e-mail.
    private let refusesLoss: Bool
    private var results: [EmailDelivery.Delivery] = []
    /// Records that are not written yet.
    private var unwritten: [IncomingRecord] = []
    /// The ids of the records of this batch.
    private var ids: Set<UUID> = []

    init(_ delivery: EmailDelivery, _ mailbox: UUID?, _ place: EmailDelivery.Place, refusesLoss: Bool) {
        (self.delivery, self.mailbox, self.place, self.refusesLoss) = (delivery, mailbox, place, refusesLoss)
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
        if unwritten.contains(where: { email.mayAnswer($0.email, in: place) }) { try write(on: connection) }
        let organization = delivery.session.organization
        let id = email.recordID(organization: organization.id, mailbox: mailbox ?? organization.id)
        var verdict = try delivery.verdict(on: email, facts, place, on: connection)
        if verdict.reason == .duplicate, let known = facts.record {
            return results.append(Self.duplicate(known.id, isIncomplete: known.isIncomplete))
        }
        guard verdict.isDelivered else { return results.append((nil, verdict)) }
        guard ids.insert(id).inserted else {
            // The same e-mail came earlier in this batch.
            let isIncomplete = results.first { $0.id == id }?.verdict.isIncomplete ?? true
            return results.append(Self.duplicate(id, isIncomplete: isIncomplete))
        }
        if refusesLoss { try email.requireFit(in: place) }
        var regarding: (id: UUID, type: String)?
        if let parent = verdict.parent { regarding = try delivery.countAnswer(to: parent, on: connection) }
        let record = delivery.record(of: email, id, mailbox, place, verdict, regarding)
        verdict.isIncomplete = record.isIncomplete
        unwritten.append(record)
        results.append((id, verdict))
    }

    private mutating func write(on connection: isolated PostgresConnection) throws {
        guard !unwritten.isEmpty else { return }
        let statements = IncomingRecord.statements(for: unwritten, in: delivery.session.organization)
        let made = Set(try connection.pipeline(statements)[0].map { try $0.decode(0, as: UUID.self) })
        // Another router has delivered these e-mails meanwhile. Its records may lack parts that the records of this batch have.
        let others = Set(unwritten.map(\.id)).subtracting(made)
        if !others.isEmpty {
            let complete = try delivery.complete(Array(others), on: connection)
            for index in results.indices {
                guard let id = results[index].id, others.contains(id) else { continue }
                results[index] = Self.duplicate(id, isIncomplete: !complete.contains(id))
            }
        }
        unwritten = []
    }

    private static func duplicate(_ id: UUID, isIncomplete: Bool) -> EmailDelivery.Delivery {
        (id, IncomingVerdict(isDelivered: false, reason: .duplicate, isIncomplete: isIncomplete))
    }
}

extension IncomingEmail {
    /// The Message-IDs that this e-mail may answer, in lower case.
    var answeredIDs: [String] { inReplyTo.prefix(100).map { $0.lowercased() } }

    /// Whether this e-mail may answer another one of the same batch.
    fileprivate func mayAnswer(_ other: IncomingEmail, in place: EmailDelivery.Place) -> Bool {
        if place.matchesSubjects { return true }
        if place.correlatesHeaders, !inReplyTo.isEmpty, answeredIDs.contains(other.messageID.lowercased()) { return true }
        return trackingToken != nil && trackingToken == other.trackingToken
    }
}
