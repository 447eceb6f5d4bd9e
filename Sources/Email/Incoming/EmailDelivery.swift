package import Foundation
package import Model
import PostgresClient
import Records
package import Tenancy

/// The delivery of incoming e-mails as records, for an Email Router or a System Administrator.
package struct EmailDelivery: Sendable {
    let session: Session

    var organization: Organization { session.organization }
    private var caller: Caller { session.caller }
    private var deployment: Deployment { session.deployment }

    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role.
    package init(_ session: Session) throws(FieldsealError) {
        guard !session.caller.roles.isDisjoint(with: RoleSet([.emailRouter, .systemAdministrator])) else {
            throw FieldsealError(
                .privilegeDenied,
                "Only an Email Router or a System Administrator may deliver e-mails, and the caller's role is "
                    + "\(session.caller.role.rawValue).")
        }
        self.session = session
    }

    /// Returns whether an e-mail would become a record, and why.
    ///
    /// - Parameters:
    ///   - mailbox: The mailbox that received the e-mail; nil to check only the recipients.
    ///   - host: The router's name for its lease, which must still be valid. A verdict tells about the mailbox's e-mails, so only
    ///     an administrator may pass nil.
    package func checkIncomingEmail(_ email: IncomingEmail, mailbox: UUID?, host: String?) async throws -> IncomingVerdict {
        return try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                if caller.role != .systemAdministrator { try requireLease(of: mailbox, by: host, on: connection) }
                let facts = try facts(about: [email], mailbox, on: connection)[0]
                let place = try place(of: mailbox, on: connection)
                let verdict = try verdict(on: email, facts, place, on: connection)
                if verdict.isDelivered { try email.requireFit(in: place) }
                return verdict
            }
        }
    }

    /// The result for an e-mail: the id of its record, if there is one, and the verdict.
    package typealias Delivery = (id: UUID?, verdict: IncomingVerdict)

    /// Makes a record of a whole e-mail. A second delivery is a duplicate, and changes nothing.
    ///
    /// - Parameters:
    ///   - mailbox: The mailbox that received the e-mail.
    ///   - host: The router's name for its lease, which must still be valid. An administrator needs no lease and may pass nil.
    /// - Returns: The record's id, and the verdict.
    package func deliverIncomingEmail(_ email: IncomingEmail, mailbox: UUID?, host: String?) async throws -> Delivery {
        try await deliver([email], of: .program, mailbox: mailbox, host: host)[0]
    }

    /// Makes records of several e-mails of one mailbox, in one transaction. What does not fit into a record is left out, and the
    /// verdict says so.
    package func deliverIncomingEmails(_ emails: [IncomingEmail], mailbox: UUID, host: String) async throws -> [Delivery] {
        try await deliver(emails, of: .router, mailbox: mailbox, host: host)
    }

    /// The kind of caller that delivers e-mails. If a record has no room for a part of an e-mail, a program gets an error. A router
    /// gets a record without the part, and leaves the e-mail on the mail server.
    private enum Deliverer {
        case program, router
    }

    private func deliver(
        _ emails: [IncomingEmail], of deliverer: Deliverer, mailbox: UUID?, host: String?
    ) async throws -> [Delivery] {
        try await deployment.pool.withConnection { connection in
            try session.planned(on: connection) {
                if caller.role != .systemAdministrator || deliverer == .program && host != nil {
                    try requireLease(of: mailbox, by: host, on: connection)
                }
                let place = try place(of: mailbox, on: connection)
                var batch = IncomingBatch(self, mailbox, place, refusesLoss: deliverer == .program)
                return try batch.deliver(emails, on: connection)
            }
        }
    }

    /// Throws unless a router has leased the mailbox and may fetch its e-mails. Renews the lease.
    private func requireLease(of mailbox: UUID?, by host: String?, on connection: isolated PostgresConnection) throws {
        guard let mailbox, let host else {
            throw FieldsealError(
                .payloadDoesNotFit, "MailboxId or HostId is missing. A router delivers only to a mailbox that it has leased.")
        }
        try session.renewLease(mailbox, host, for: .delivering, on: connection)
    }

    /// The owner of a mailbox's e-mails, and the organization's settings for e-mail.
    struct Place {
        /// The mailbox that received the e-mails; nil for a check of recipients alone.
        let mailbox: UUID?
        let owner: UUID
        let ownerType: String?
        let unit: UUID
        /// Whether an e-mail's thread is found by In-Reply-To and References; and whether it is found by subject and people.
        let correlatesHeaders: Bool
        let matchesSubjects: Bool
        /// The largest attachment in bytes that is kept.
        let attachmentLimit: Int
    }

    private func place(of mailbox: UUID?, on connection: isolated PostgresConnection) throws -> Place {
        let row = try connection.query(
            """
            SELECT m.mailboxid, m.ownerid, m.owneridtype, m.owningbusinessunit, coalesce(o.emailcorrelationenabled, true) AS correlates,
                   coalesce(o.enablesmartmatching, false) AS matches, greatest(coalesce(o.maxuploadfilesize, 5242880), 0) AS attachment_limit
              FROM \(organization.qualified("organization")) AS o
              LEFT JOIN \(organization.qualified("mailbox")) AS m ON m.mailboxid = $1 LIMIT 1
            """, [.uuid(mailbox)]
        )[0]
        if mailbox != nil, try row.decodeIfPresent("mailboxid", as: UUID.self) == nil {
            throw FieldsealError.noSuchRecord(.mailbox)
        }
        guard let owner = try row.decodeIfPresent("ownerid", as: UUID.self) ?? caller.systemUserID,
            let unit = try row.decodeIfPresent("owningbusinessunit", as: UUID.self) ?? session.callersUnit
        else { throw FieldsealError(.unexpected, "The mailbox has no owner.") }
        return Place(
            mailbox: mailbox, owner: owner, ownerType: try row.decodeIfPresent("owneridtype"), unit: unit,
            correlatesHeaders: try row.decode("correlates"), matchesSubjects: try row.decode("matches"),
            attachmentLimit: try row.decode("attachment_limit"))
    }

    // MARK: The verdict

    /// Decides whether an e-mail becomes a record.
    func verdict(
        on email: IncomingEmail, _ facts: Facts, _ place: Place, on connection: isolated PostgresConnection
    ) throws -> IncomingVerdict {
        func no(_ reason: IncomingVerdict.Reason) -> IncomingVerdict { IncomingVerdict(isDelivered: false, reason: reason) }
        guard EmailAddressRule.isSender(email.from.address) else { return no(.badSender) }
        if facts.record != nil { return no(.duplicate) }
        // The mailbox received a copy of an e-mail that it sent.
        if facts.isOwn { return no(.ownMessage) }
        guard !facts.filters.isEmpty else { return no(.noRecipient) }
        let (parent, correlation, hasToken) = try correlate(email, place, on: connection)
        func yes(_ reason: IncomingVerdict.Reason) -> IncomingVerdict {
            IncomingVerdict(isDelivered: true, reason: reason, parent: parent, correlation: correlation)
        }
        if parent != nil { return yes(correlation == .trackingToken ? .tokenMatched : .senderAccepted) }
        if facts.filters.contains(.all) { return yes(.recipientAcceptsAll) }
        if facts.filters.contains(.knownSenders), try isKnown(email.from.address, on: connection) { return yes(.senderAccepted) }
        return no(hasToken ? .tokenUnmatched : .unknown)
    }

    private func isKnown(_ address: String, on connection: isolated PostgresConnection) throws -> Bool {
        try connection.query(
            """
            SELECT EXISTS (SELECT FROM \(organization.qualified("systemuser")) WHERE lower(internalemailaddress) = ANY ($1))
                OR EXISTS (SELECT FROM \(organization.qualified("queue")) WHERE lower(emailaddress) = ANY ($1))
            """, [.texts(EmailAddressRule.forms(address))])[0].decode(0)
    }
}
