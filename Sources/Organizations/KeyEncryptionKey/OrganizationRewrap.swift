import Authentication
import CellCrypto
import Foundation
import KeyManagement
import Model
import PostgresClient
import Records
import Tenancy

/// Seals and tags everything of one organization under another key-encryption key, while its attested state is locked.
///
/// A row that does not verify under the old key-encryption key gets no new tag. The row stays unchanged, and grants nothing.
struct OrganizationRewrap {
    private let organization: Organization
    /// The new key-encryption key. This value also opens and verifies data that is still under the old key.
    private let new: KeyEncryptionKey
    /// The new key-encryption key without the old one. This value accepts only data that is already under the new key.
    private let newOnly: KeyEncryptionKey
    /// The organization's old key-encryption key.
    private let former: KeyEncryptionKey
    private let list: GrantList
    private var grants: GrantList
    /// How many items were sealed or tagged anew.
    private(set) var count = 0

    private var isFirst: Bool { former.id != new.id }

    /// - Parameter new: Accepts the organization's old key-encryption key too.
    init(_ change: AttestedChange, under new: KeyEncryptionKey) throws {
        organization = change.organization
        self.new = new
        newOnly = new.each[0]
        former = change.kek
        list = change.grants
        grants = change.grants
        // The name of a missing row stays in the list, so that the doctor still reports the row.
        if isFirst { for name in list.entries.keys where try !list.isEnd(name) { try grants.hold(name) } }
    }

    /// Seals and tags everything in the open transaction.
    ///
    /// - Returns: The list of grants under the new key-encryption key.
    mutating func run(on connection: isolated PostgresConnection) throws -> GrantList {
        try retagRows(on: connection)
        try rewrapKeys(on: connection)
        try carryOver(on: connection)
        try retagDestinations(on: connection)
        try retagSubmissions(on: connection)
        try retagMarks(on: connection)
        return grants
    }

    // MARK: Rows that grant access

    /// Tags the rows that this service wrote. Each row is read once, and its new tag is computed from the values that were
    /// verified. So if SQL changes a row meanwhile, the row does not match its tag.
    private mutating func retagRows(on connection: isolated PostgresConnection) throws {
        // The layers of a person's verifier refer to the person's row, which must not be deleted meanwhile.
        _ = try connection.query(
            "SELECT FROM config.console_user WHERE organization_id = $1 FOR UPDATE", [.uuid(organization.id)])
        var people: [UUID: ConsoleUsers.Row] = [:]
        for row in try GrantRow.all(of: organization, on: connection) {
            let standing = try list.standing(of: row.grant, tag: row.tag, under: new)
            let isLast = try list.isLast(row.tag, of: row.grant, under: new)
            guard try standing == .authentic || standing == .revoked && isLast && row.grant.fits(row.tag, under: new) else {
                continue
            }
            var grant = row.grant
            if let person = row.person {
                let password = Grant.ownPassword(of: person.row.id, salt: person.row.salt)
                if try list.holds(password, under: new) { try grants.set(password, under: newOnly) }
                if row.grant.name.kind == .user { people[person.row.id] = try reseal(person.row, on: connection) }
                grant = person.grant(people[person.row.id] ?? person.row)
            } else if let issuer = row.issuer {
                grant = try reseal(issuer, on: connection).grant
            }
            let tag = try grant.tag(under: newOnly)
            if !constantTimeEqual(tag, row.tag) {
                try row.store(tag, on: connection)
                count += 1
            }
            if standing == .authentic {
                try grants.set(grant, under: newOnly)
            } else {
                try grants.revoke(grant.name, tag: tag, under: newOnly)
            }
        }
    }

    /// The same secret, sealed under the new key-encryption key.
    ///
    /// - Returns: Nil if it is sealed under the new key already, or can't be opened.
    private func resealed(_ cell: [UInt8]?, at address: CellAddress) throws -> [UInt8]? {
        guard let cell, (try? newOnly.open(cell, at: address)) == nil, let secret = try? new.open(cell, at: address) else {
            return nil
        }
        return try newOnly.seal(secret, at: address).bytes
    }

    /// Seals the secrets of a verified person.
    ///
    /// - Returns: The row that is stored now.
    private mutating func reseal(_ user: ConsoleUsers.Row, on connection: isolated PostgresConnection) throws -> ConsoleUsers.Row {
        var user = user
        if let totp = try resealed(user.totp, at: SecondFactor.address(user.id, user.organizationID)) {
            _ = try connection.query(
                "UPDATE config.console_user SET totp = $2 WHERE user_id = $1", [.uuid(user.id), .bytes(totp)])
            user.totp = totp
            count += 1
        }
        guard isFirst else { return user }
        let layers = try VerifierLayers.read(of: user, under: new, on: connection)
        user.verifier = try PasswordHashing.verifier(of: user.verifier, salt: user.salt, under: newOnly)
        // A trigger deletes the layers of the old verifier.
        _ = try connection.query(
            "UPDATE config.console_user SET verifier = $2 WHERE user_id = $1", [.uuid(user.id), .bytes(user.verifier)])
        try VerifierLayers.store(
            layers + [former.tagKey(label: PasswordHashing.tagLabel)], of: user, under: newOnly, on: connection)
        count += 1
        return user
    }

    /// Seals the secret of a verified provider.
    ///
    /// - Returns: The row that is stored now.
    private mutating func reseal(
        _ issuer: TrustedIssuers.Entry, on connection: isolated PostgresConnection
    ) throws -> TrustedIssuers.Entry {
        guard let secret = try resealed(issuer.secret, at: TrustedIssuers.address(issuer.id, organization.id)) else {
            return issuer
        }
        _ = try connection.query(
            "UPDATE config.oidc_issuer SET client_secret = $2 WHERE issuer_id = $1", [.uuid(issuer.id), .bytes(secret)])
        count += 1
        var issuer = issuer
        issuer.secret = secret
        return issuer
    }

    // MARK: Keys

    /// Seals the keys that this service wrote, and names the new key-encryption key in rows whose `kek_id` SQL wrote.
    private mutating func rewrapKeys(on connection: isolated PostgresConnection) throws {
        try rewrapOwnKeys(on: connection)
        let others = try connection.query(
            """
            SELECT key_version, fingerprint, wrapped_text, wrapped_data, kek_id IN (SELECT kek_id FROM config.replaced_kek)
              FROM config.organization_key
             WHERE organization_id = $1 AND kek_id <> $2 AND wrapped_text IS NOT NULL AND wrapped_data IS NOT NULL
            """, [.uuid(organization.id), .text(newOnly.id)])
        for row in others {
            let key = try StoredKey(row)
            let isMoved = key.data(of: organization.id, under: newOnly) != nil
            // A row that SQL made grants nothing, and must not keep a key-encryption key from being retired.
            guard try isMoved || row.decode(4, as: Bool.self) && !list.holds(key.grant, under: new) else { continue }
            try key.replace(in: organization.id, under: newOnly, on: connection)
            count += 1
        }
    }

    private mutating func rewrapOwnKeys(on connection: isolated PostgresConnection) throws {
        for key in try StoredKey.all(of: organization.id, on: connection) where try list.holds(key.grant, under: new) {
            let (id, version) = (organization.id, UInt32(key.version))
            if key.data(of: id, under: newOnly) != nil, key.text(of: id, under: newOnly) != nil {
                try grants.set(key.grant, under: newOnly)
                continue
            }
            guard let data = key.data(of: id, under: new), let text = key.text(of: id, under: new) else { continue }
            let rewrapped = StoredKey(
                version: key.version, fingerprint: key.fingerprint,
                wrappedText: try newOnly.wrap(text, organization: id, keyVersion: version).bytes,
                wrappedData: try newOnly.wrap(data, organization: id, keyVersion: version).bytes)
            try rewrapped.replace(in: id, under: newOnly, on: connection)
            try grants.set(rewrapped.grant, under: newOnly)
            count += 1
        }
    }

    /// Keeps the entries of the list that belong to no tagged row.
    private mutating func carryOver(on connection: isolated PostgresConnection) throws {
        let state = try OrganizationState.read(organization.name, on: connection)
        if try list.holds(state.keyDerivation, under: new) { try grants.set(state.keyDerivation, under: newOnly) }
        let users = try connection.query("SELECT systemuserid FROM \(organization.qualified("systemuser"))")
        for user in users {
            let grant = Grant.disabledSystemUser(try user.decode(0))
            if try list.names(grant.name) { try grants.set(grant, under: newOnly) }
        }
        let marks = [Grant.suspension, Grant.rolesWereGiven] + SecondFactorPolicy.roles.map(SecondFactorPolicy.grant)
        for grant in marks where try list.names(grant.name) { try grants.set(grant, under: newOnly) }
        // The name of a rule that SQL changed stays in the list. The strict rule then applies.
        if let control = try KeyControl.row(of: organization, on: connection), try list.holds(control.grant, under: new) {
            try grants.set(control.grant, under: newOnly)
        }
        let links = try RoleGrants(of: organization, on: connection)
        let invitations = try Invitation.all(of: organization, on: connection).map(\.grant)
        for grant in links.roles + links.rows.map(\.grant) + invitations where try list.holds(grant, under: new) {
            try grants.set(grant, under: newOnly)
        }
    }

    // MARK: Tags in the organization's schema

    private mutating func retagDestinations(on connection: isolated PostgresConnection) throws {
        for (destination, stored) in try MailDestination.all(in: organization, on: connection) {
            guard let stored, try destination.fits(stored, in: organization, under: new) else { continue }
            let tag = try destination.tag(in: organization, under: newOnly)
            let grant = Grant.mailServer(destination.place.id, tag: stored)
            if destination.isProfile, try list.holds(grant, under: new) {
                try grants.set(.mailServer(destination.place.id, tag: tag), under: newOnly)
            }
            guard !constantTimeEqual(tag, stored) else { continue }
            _ = try connection.query(
                """
                UPDATE \(organization.qualified("mail_destination")) SET tag = $3, kek_id = $4
                 WHERE entity = $1 AND record_id = $2 AND tag = $5
                """,
                [
                    .text(destination.place.entity), .uuid(destination.place.id), .bytes(tag), .text(newOnly.id), .bytes(stored),
                ])
            count += 1
        }
        // The tags of the remaining rows are not valid under either key-encryption key, so another `kek_id` authorizes nothing.
        _ = try connection.query(
            "UPDATE \(organization.qualified("mail_destination")) SET kek_id = $1 WHERE kek_id <> $1", [.text(newOnly.id)])
    }

    /// Tags the e-mails that wait to be sent.
    private mutating func retagSubmissions(on connection: isolated PostgresConnection) throws {
        let rows = try connection.query(
            """
            SELECT \(Submission.columns(in: organization)), e.submission_tag FROM \(organization.qualified("email")) AS e
             WHERE e.statuscode IN \(EmailStatus.outbound.sql) AND e.submission_tag IS NOT NULL
            """)
        for row in rows {
            let submission = try Submission(row, at: 0)
            let stored = try row.decode(Submission.columnCount, as: PostgresBytes.self).bytes
            guard try submission.isAuthentic(by: stored, in: organization, under: new),
                try !submission.isAuthentic(by: stored, in: organization, under: newOnly)
            else { continue }
            try submission.store(in: organization, under: newOnly, on: connection)
            count += 1
        }
    }

    /// Tags the beginning of the chain of events, and the mark of the last verified event. Deletes a mark that does not verify.
    private mutating func retagMarks(on connection: isolated PostgresConnection) throws {
        let (id, kekID) = (organization.id, new.id)
        func isOther(_ table: String) throws -> Bool {
            let rows = try connection.query("SELECT kek_id FROM config.\(table) WHERE organization_id = $1", [.uuid(id)])
            return try rows.first.map { try $0.decode(0, as: String.self) != kekID } ?? false
        }
        if try isOther("event_archive"), let position = try? EventArchivePosition.read(organization, under: new, on: connection) {
            try position.write(organization, under: newOnly, on: connection)
            count += 1
        }
        guard try isOther("event_checkpoint") else { return }
        if let mark = try? EventCheckpoint.read(organization, under: new, on: connection) {
            try mark.write(organization, under: newOnly, on: connection)
        } else {
            // The checkpoint only makes the next verification shorter.
            _ = try connection.query("DELETE FROM config.event_checkpoint WHERE organization_id = $1", [.uuid(id)])
        }
        count += 1
    }
}
