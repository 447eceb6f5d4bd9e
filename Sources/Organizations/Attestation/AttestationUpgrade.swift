import CellCrypto
import Foundation
import JSON
import KeyManagement
package import Migrations
import Model
import PostgresClient
import Records
import Tenancy

/// Attests the organizations of a deployment that is older than the attested state. The upgrade runs in the transaction of the
/// migration that introduces the attested state. Rows are accepted if their earlier tags are valid. The chain of events is accepted
/// if its last event is the one that was stored as its end.
package struct AttestationUpgrade: Sendable {
    private let registry: OrganizationRegistry

    private var kek: KeyEncryptionKey { registry.kek }

    package init(_ registry: OrganizationRegistry) { self.registry = registry }

    /// Called by the migration runner. Returns a line for each row or organization that was not attested, with the reason.
    package var completion: MigrationCompletion {
        { migration, target, connection in
            switch (target, migration.name) {
            case (.config, _): return try run(on: connection)
            case (.organization(let id, let name, _), "0009_mail_destinations"):
                // Authorizes the present settings that decide where credentials are sent.
                try MailDestination.authorizeAll(
                    [.emailServerProfile, .mailbox], in: Organization(id: id, name: name), under: kek, on: connection)
                return []
            case (.organization(let id, let name, _), let file) where file.hasSuffix("_mail_accounts"):
                try MailDestination.authorizeAccounts(in: Organization(id: id, name: name), under: kek, on: connection)
                return []
            case (.organization(let id, let name, _), let file) where file.hasSuffix("_mailbox_belonging"):
                try MailDestination.authorizeBelonging(in: Organization(id: id, name: name), under: kek, on: connection)
                return []
            case (.organization(let id, let name, _), let file) where file.hasSuffix("_application_ids"):
                try Self.nameApplications(of: Organization(id: id, name: name), on: connection)
                return []
            case (.organization(let id, let name, _), _):
                // Tags the e-mails that wait to be sent, so that routers get them.
                try Submission.tagAll(in: Organization(id: id, name: name), under: kek, on: connection)
                return []
            }
        }
    }

    /// Writes the ids of clients that an earlier version added into the records of their users.
    private static func nameApplications(of organization: Organization, on connection: isolated PostgresConnection) throws {
        _ = try connection.query(
            """
            UPDATE \(organization.qualified("systemuser")) AS u SET applicationid = c.client_id FROM config.api_client AS c
             WHERE c.organization_id = $1 AND c.systemuser_id = u.systemuserid AND u.applicationid IS NULL
            """, [.uuid(organization.id)])
    }

    private func run(on connection: isolated PostgresConnection) throws -> [String] {
        let keys = try connection.query(
            "SELECT kek_id, count(*) FROM config.organization_key WHERE retired_on IS NULL GROUP BY 1 ORDER BY 2 DESC")
        let ids = try keys.map { try $0.decode(0, as: String.self) }
        if let other = ids.first, !ids.contains(kek.id) { throw WrongKeyEncryptionKey(given: kek.id, wanted: other) }
        let organizations = try connection.query("SELECT organization_id, name FROM config.organization ORDER BY name")
        return try organizations.flatMap { row in
            try attest(Organization(id: row.decode(0), name: row.decode(1)), on: connection)
        }
    }

    /// - Returns: A line for each row that was not attested, or one line for the organization.
    private func attest(_ organization: Organization, on connection: isolated PostgresConnection) throws -> [String] {
        let there = try connection.query(
            """
            SELECT to_regclass($1) IS NOT NULL,
                   EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass($2) AND attname = 'hash' AND NOT attisdropped)
            """, [.text(organization.qualified("encryption")), .text(organization.qualified("security_event"))])[0]
        guard try there.decode(0) else {
            return [
                "\(organization.name): its schema is missing, so it is not attested. Restore the schema, then fieldseal org "
                    + "attach \(organization.name)."
            ]
        }
        if try there.decode(1) {
            if let problem = try chainProblem(of: organization, on: connection) {
                return [
                    "\(organization.name): \(problem), so it is not attested. Compare security_event with a backup, then fieldseal org attach "
                        + "\(organization.name)."
                ]
            }
        } else {
            // This schema is older than the event chain. A migration makes the chain from the events that the schema has.
            try MigrationRunner.applyAll(
                to: .organization(id: organization.id, name: organization.name, schema: organization.schema), on: connection)
            try MailDestination.authorizeAll(in: organization, under: kek, on: connection)
            try Self.nameApplications(of: organization, on: connection)
        }
        var grants = GrantList()
        let leftOut = try takeOver(organization, &grants, on: connection)
        try registry.addDisabledUsers(of: organization, to: &grants, on: connection)
        try registry.insertState(of: organization, grants, after: nil, on: connection)
        return leftOut
    }

    /// Gives the organization's rows their new tags. Returns a line for each row that is not accepted.
    private func takeOver(
        _ organization: Organization, _ grants: inout GrantList, on connection: isolated PostgresConnection
    ) throws -> [String] {
        var leftOut: [String] = []
        var users: Set<String> = []
        for row in try GrantRow.all(of: organization, on: connection) {
            let isOwn: Bool
            if let former = row.formerTag {
                isOwn = try kek.accepts(row.tag, label: former.label, over: former.fields)
                if isOwn, row.grant.name.kind == .user { users.insert(hexadecimal(row.grant.name.key[0])) }
            } else {
                isOwn = row.grant.name.kind == .recoveryCode && users.contains(hexadecimal(row.grant.name.key[0]))
            }
            guard isOwn else {
                try grants.revoke(row.grant.name, tag: nil, under: kek)
                leftOut.append("\(organization.name): the \(row.title) was not made by this service, and is not honoured.")
                continue
            }
            let tag = try row.grant.tag(under: kek)
            try row.store(tag, on: connection)
            if row.isDisabled {
                try grants.revoke(row.grant.name, tag: tag, under: kek)
            } else {
                try grants.set(row.grant, under: kek)
            }
        }
        for key in try StoredKey.all(of: organization.id, on: connection) {
            guard key.data(of: organization.id, under: kek)?.fingerprint == key.fingerprint else { continue }
            try grants.set(key.grant, under: kek)
        }
        return leftOut
    }

    /// The problem with the end of the chain of events, compared with the end that was stored before the attested state
    /// existed.
    private func chainProblem(of organization: Organization, on connection: isolated PostgresConnection) throws -> String? {
        let events = organization.qualified("security_event")
        let row = try connection.query(
            """
            SELECT c.length, c.head, c.tag, (SELECT count(*) FROM \(events)),
                   (SELECT hash FROM \(events) ORDER BY security_event_id DESC LIMIT 1)
              FROM (SELECT) AS one LEFT JOIN former_event_chain AS c ON c.organization_id = $1
            """, [.uuid(organization.id)])[0]
        let count: Int = try row.decode(3)
        guard !row.isNull(0) else { return count == 0 ? nil : "config does not say how long its chain of security events is" }
        func bytes(_ column: Int) throws -> [UInt8] {
            row.isNull(column) ? [] : try row.decode(column, as: PostgresBytes.self).bytes
        }
        let length: Int = try row.decode(0)
        let tag = try kek.tag(label: "event_chain", over: [organization.id.bytes, Grant.field("\(length)"), try bytes(1)])
        guard constantTimeEqual(try bytes(2), tag) else {
            return "the end of its chain of security events was not written by this service"
        }
        if count < length { return "\(length - count) of its \(length) security events are missing" }
        guard count == length, constantTimeEqual(try bytes(1), try bytes(4)) else {
            return "security events were written by SQL, and not by the service"
        }
        return nil
    }
}
