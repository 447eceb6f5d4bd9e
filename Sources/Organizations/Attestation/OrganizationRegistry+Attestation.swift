import Authentication
import CellCrypto
import Foundation
import KeyManagement
import Model
import PostgresClient
import Records
package import Tenancy

extension OrganizationRegistry {
    /// Attests the present contents of a schema, for an organization that this transaction registers.
    ///
    /// - Parameter keys: The keys that this transaction inserted into `config`.
    func attest(_ organization: Organization, keys: [Grant] = [], on connection: isolated PostgresConnection) throws {
        var grants = GrantList()
        for key in keys { try grants.set(key, under: kek) }
        try addDisabledUsers(of: organization, to: &grants, on: connection)
        _ = try RoleGrants(of: organization, on: connection).keep(from: nil, in: &grants, under: kek)
        try insertState(of: organization, grants, after: nil, on: connection)
    }

    /// Returns what ``attestAgain(name:as:trustingTags:by:)`` would find and do. This function changes nothing.
    package func attestationReport(of name: String, trustingTags: Bool) async throws -> AttestationReport {
        try await asOwner { connection in
            let organization = try registered(name, on: connection)
            return try under(keyOf: organization, on: connection)
                .reattestation(
                    of: organization, lacking: RoleGrants.missing(in: organization, on: connection), trustingTags: trustingTags,
                    on: connection
                ).report
        }
    }

    /// Accepts the present state of a registered organization, after a restore or a change by SQL.
    ///
    /// Rows that this service did not write still grant nothing. Every session of the console ends.
    ///
    /// - Parameters:
    ///   - shown: The report that the operator saw and accepted.
    ///   - trustingTags: Decides what happens if the list does not verify. True: a row with a valid tag grants access, even if the
    ///     tag is a former one. False: every client and every person is disabled.
    /// - Throws: ``FieldsealError`` when no organization with that name is registered, and when the report differs from
    ///   `shown`.
    package func attestAgain(
        name: String, as shown: AttestationReport, trustingTags: Bool, by caller: Caller
    ) async throws -> AttestationReport {
        try await asOwner { connection in
            let organization = try registered(name, on: connection)
            _ = try connection.query(
                "SELECT FROM config.attested_state WHERE organization_id = $1 FOR UPDATE", [.uuid(organization.id)])
            let registry = try under(keyOf: organization, on: connection)
            let roles = try RoleGrants.missing(in: organization, on: connection)
            try seedRoles(of: organization, on: connection)
            let (report, grants, revision, disabled) = try registry.reattestation(
                of: organization, lacking: roles, trustingTags: trustingTags, on: connection)
            guard report.grantsSame(as: shown) else {
                throw FieldsealError(
                    .invalidArgument,
                    "The rows that grant access changed after they were shown, so nothing was accepted. Run the command "
                        + "again."
                )
            }
            for row in disabled { try row.row.disable(at: row.moment, tag: row.tag, on: connection) }
            _ = try connection.query(
                "DELETE FROM config.console_session WHERE user_id IN (SELECT user_id FROM config.console_user WHERE organization_id = $1)",
                [.uuid(organization.id)])
            _ = try connection.query("DELETE FROM config.approval WHERE organization_id = $1", [.uuid(organization.id)])
            try registry.insertState(of: organization, grants, after: revision, on: connection)
            var details =
                report.differences.isEmpty
                ? AttestedAnchor.nothingDiffered : "attested again: " + report.differences.joined(separator: "; ")
            if !report.isListed {
                details +=
                    "; rows that grant access by their tags alone: "
                    + "\(report.authentic.isEmpty ? "none" : report.authentic.joined(separator: ", "))"
            }
            try SecurityEvent(.organizationAttached, .succeeded, details: details.prefix(2_000).description)
                .insert(for: organization, by: caller, under: registry.kek, on: connection)
            if let difference = report.auditDifference {
                try AuditAnchor.beginAnew(organization, by: caller, under: registry.kek, because: difference, on: connection)
            }
            return report
        }
    }

    /// This registry under the organization's key-encryption key; unchanged if this program does not have that key.
    private func under(keyOf organization: Organization, on connection: isolated PostgresConnection) throws -> OrganizationRegistry
    {
        let ids = try connection.query(
            """
            SELECT kek_id FROM config.attested_state WHERE organization_id = $1
            UNION ALL SELECT kek_id FROM config.organization_key WHERE organization_id = $1 AND retired_on IS NULL
            """, [.uuid(organization.id)]
        ).map { try $0.decode(0, as: String.self) }
        guard let own = ids.lazy.compactMap(kek.member).first else { return self }
        return OrganizationRegistry(conninfo: conninfo, kek: own, policy: policy)
    }

    /// The registered organization of that name.
    func registered(_ name: String, on connection: isolated PostgresConnection) throws -> Organization {
        let rows = try connection.query(
            "SELECT organization_id FROM config.organization WHERE name = $1", [.text(name)])
        guard let row = rows.first else { throw FieldsealError.unknownOrganization(name) }
        return Organization(id: try row.decode(0), name: name)
    }

    /// Whether an organization with that name is registered, so that attaching it attests it again.
    package func isRegistered(_ name: String) async throws -> Bool {
        try await asOwner { connection in
            try connection.query("SELECT EXISTS (SELECT FROM config.organization WHERE name = $1)", [.text(name)])[0].decode(0)
        }
    }

    // MARK: Steps

    /// Records disabled systemusers, so that SQL can't enable them.
    func addDisabledUsers(
        of organization: Organization, to grants: inout GrantList, on connection: isolated PostgresConnection
    ) throws {
        let disabled = try connection.query(
            "SELECT systemuserid FROM \(organization.qualified("systemuser")) WHERE isdisabled")
        for row in disabled { try grants.set(Grant.disabledSystemUser(try row.decode(0)), under: kek) }
    }

    /// Writes the attested state from the key and the events in the schema.
    func insertState(
        of organization: Organization, _ grants: GrantList, after revision: Int?, on connection: isolated PostgresConnection
    ) throws {
        let events = organization.qualified("security_event")
        let row = try connection.query(
            """
            SELECT e.key_version, e.fingerprint, (SELECT count(*) FROM \(events)), v.security_event_id, v.hash, e.salt, e.iterations, e.key_check
              FROM \(organization.qualified("encryption")) AS e
              LEFT JOIN LATERAL (SELECT security_event_id, hash FROM \(events) ORDER BY security_event_id DESC LIMIT 1) AS v ON true
            """
        ).first
        guard let row else {
            throw FieldsealError(
                .objectDoesNotExist,
                "The schema \(organization.schema) has no row in its table encryption, without which no cell opens. Restore the "
                    + "row first."
            )
        }
        func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
        var grants = grants
        try grants.set(Grant.keyDerivation(salt: bytes(5), iterations: row.decode(6), keyCheck: bytes(7)), under: kek)
        var state = AttestedState(
            organizationID: organization.id, revision: AttestedState.freshRevision(after: revision), keyVersion: try row.decode(0),
            fingerprint: try row.decode(1), grantsDigest: try sha256(grants.bytes),
            events: try row.decode(2, as: Int.self)
                + EventArchivePosition.settle(organization, under: kek, on: connection),
            newestEvent: try row.decodeIfPresent(3) ?? 0,
            head: row.isNull(4) ? [] : try bytes(4),
            kekID: kek.id)
        try state.sign(under: kek)
        try state.insert(grants: grants, on: connection)
    }

    /// A row to disable, because no list says whether it is the version that this service wrote last.
    private typealias Disabled = (row: GrantRow, moment: PostgresMoment, tag: [UInt8])

    /// The new attested state of a registered organization, and its differences from the old one.
    ///
    /// - Parameters:
    ///   - roles: The roles that SQL deleted, and that are put back.
    ///   - trustingTags: Whether a valid tag is enough if no list verifies.
    private func reattestation(
        of organization: Organization, lacking roles: [Role], trustingTags: Bool, on connection: isolated PostgresConnection
    ) throws -> (report: AttestationReport, grants: GrantList, revision: Int?, disabled: [Disabled]) {
        let state = try OrganizationState.read(organization.name, on: connection)
        let (former, found) = try formerGrants(of: state)
        var differences = found
        if try !EventArchivePosition.fitsBeginning(of: organization, under: kek, on: connection) {
            differences.append("the chain of security events does not begin where its newest archive ended")
        }
        let audit = try auditProblems(of: organization, on: connection)
        differences += audit.prefix(Self.namedAuditProblems)
        if former == nil { differences += Self.unknown }
        if !roles.isEmpty {
            differences.append(
                "SQL deleted or renamed the roles \(roles.map(\.rawValue).joined(separator: ", ")); they are put back, "
                    + "with new ids and without the users and teams that had them")
        }
        var grants = GrantList()
        var (authentic, notHonoured, disabled): ([String], [String], [Disabled]) = ([], [], [])
        let now: PostgresMoment = try connection.query("SELECT clock_timestamp()")[0].decode(0)
        for row in try GrantRow.all(of: organization, on: connection) where ![.session, .approval].contains(row.grant.name.kind) {
            guard try isOwn(row, in: former, trustingTags: trustingTags) else {
                notHonoured.append(former == nil ? row.fullTitle : row.title)
                if former == nil, let off = try self.disabled(row, at: now) {
                    try grants.revoke(row.grant.name, tag: off.tag, under: kek)
                    if !row.isDisabled { disabled.append(off) }
                } else {
                    // A revoked row stays revoked.
                    try grants.revoke(row.grant.name, tag: nil, under: kek)
                }
                continue
            }
            if let password = row.person.map({ Grant.ownPassword(of: $0.row.id, salt: $0.row.salt) }) {
                if try former?.holds(password, under: kek) ?? false { try grants.set(password, under: kek) }
            }
            if row.isDisabled {
                try grants.revoke(row.grant.name, tag: row.tag, under: kek)
            } else {
                try grants.set(row.grant, under: kek)
            }
            let isNamed = former == nil || [.client, .user, .issuer, .link].contains(row.grant.name.kind)
            if isNamed, !row.isDisabled { authentic.append(former == nil ? row.fullTitle : row.title) }
        }
        for key in try StoredKey.all(of: organization.id, on: connection) where try isOwn(key, of: organization, in: former) {
            try grants.set(key.grant, under: kek)
        }
        try addDisabledUsers(of: organization, to: &grants, on: connection)
        try keepRules(of: organization, from: former, in: &grants, on: connection)
        notHonoured += try RoleGrants(of: organization, on: connection).keep(from: former, in: &grants, under: kek)
        let report = AttestationReport(
            differences: differences, notHonoured: notHonoured, authentic: authentic, keyVersion: state.keyVersion,
            replacedVersion: try former.flatMap { try replacedVersion(state, $0) }, events: state.newestEvent,
            isListed: former != nil, auditDifference: audit.first)
        // Without a list, another state may have been written in this second. So the revisions continue in the next second.
        let lastOfSecond = AttestedState.freshRevision(after: nil) | 0xF_FFFF
        return (report, grants, former == nil ? lastOfSecond : state.attested?.revision, disabled)
    }

    /// The attested key version, if the schema names a later key that is not on the list; nil otherwise. The service did not put
    /// this later key in force: SQL did.
    private func replacedVersion(_ state: OrganizationState, _ former: GrantList) throws -> Int? {
        guard let attested = state.attested, state.keyVersion > attested.keyVersion,
            try !former.names(Grant.organizationKeyName(version: state.keyVersion, fingerprint: state.fingerprint))
        else { return nil }
        return attested.keyVersion
    }

    /// How many problems of the audit are named.
    private static let namedAuditProblems = 5

    /// What remains unknown if no list of grants verifies.
    private static let unknown = [
        "the end of the chain of security events could not be compared: compare it with an export (fieldseal events verify --against)",
        "no list says which rows were ended or replaced: former secrets, passwords, roles and servers can't be told from present ones",
        "the rules for the key and for one-time passwords are not known, so the strictest apply; profiles of mail servers are authorized "
            + "once they are saved again",
    ]

    /// The disabled form of a row; nil for a row that this service never wrote, or that can't be disabled.
    private func disabled(_ row: GrantRow, at now: PostgresMoment) throws -> Disabled? {
        guard let make = row.disabled, try row.grant.fits(row.tag, under: kek) else { return nil }
        return (row, now, row.isDisabled ? row.tag : try make(now).tag(under: kek))
    }

    /// Keeps the entries of the former list that belong to no row of `config`: suspensions, rules, disabled systemusers and mail
    /// servers. Without a list, the strictest rules apply, and no profile is authorized.
    private func keepRules(
        of organization: Organization, from former: GrantList?, in grants: inout GrantList,
        on connection: isolated PostgresConnection
    ) throws {
        if try former?.names(Grant.suspension.name) ?? false || isMarkedSuspended(organization, on: connection) {
            try grants.set(Grant.suspension, under: kek)
        }
        for grant in SecondFactorPolicy.roles.map(SecondFactorPolicy.grant) where try former?.names(grant.name) ?? true {
            try grants.set(grant, under: kek)
        }
        let profiles = try MailDestination.profiles(in: organization, on: connection).map { Grant.mailServer($0, tag: []).name }
        guard let former else {
            for name in [KeyControl.name] + profiles { try grants.hold(name.digest()) }
            return
        }
        if let control = try KeyControl.row(of: organization, on: connection), control.isOn,
            try former.holds(control.grant, under: kek)
        {
            try grants.set(control.grant, under: kek)
        } else {
            try grants.take(KeyControl.name, from: former)
        }
        try keepDisabledUsers(of: organization, in: former, &grants, on: connection)
        // Mail servers are not authorized here. A profile that SQL restored is not authorized until it is saved.
        for name in profiles { try grants.take(name, from: former) }
    }

    /// The attested grants, nil if no attestation is valid; and how the schema differs from the attested state.
    private func formerGrants(of state: OrganizationState) throws -> (GrantList?, differences: [String]) {
        var differences: [String] = []
        var former: GrantList?
        do {
            try state.verifyRow(under: kek)
            former = state.grants
            if let problem = state.endProblem { differences.append(problem.description) }
            if !state.namesAttestedKey, let attested = state.attested {
                differences.append(
                    "the schema names key version \(state.keyVersion), fingerprint \(state.fingerprint), and the attested one is "
                        + "version \(attested.keyVersion), fingerprint \(attested.fingerprint)")
            }
            if let grants = former, try grants.names(state.keyDerivation.name), try !grants.holds(state.keyDerivation, under: kek) {
                differences.append("the salt, the iterations or the key check of the key are not the attested ones")
            }
        } catch let problem as AttestationProblem {
            differences.append(problem.description)
        }
        return (former, differences)
    }

    /// Whether a row is the version that this service wrote last. Without a list, a valid tag is enough if tags are trusted.
    private func isOwn(_ row: GrantRow, in former: GrantList?, trustingTags: Bool) throws -> Bool {
        guard let former else { return try trustingTags && row.grant.fits(row.tag, under: kek) }
        return try former.isNewest(row.grant, tag: row.tag, isDisabled: row.isDisabled, under: kek)
    }

    private func isOwn(_ key: StoredKey, of organization: Organization, in former: GrantList?) throws -> Bool {
        if let former { return try former.holds(key.grant, under: kek) }
        return key.data(of: organization.id, under: kek)?.fingerprint == key.fingerprint
            && key.text(of: organization.id, under: kek) != nil
    }

    private func keepDisabledUsers(
        of organization: Organization, in former: GrantList, _ grants: inout GrantList, on connection: isolated PostgresConnection
    ) throws {
        let users = try connection.query("SELECT systemuserid FROM \(organization.qualified("systemuser"))")
        for user in users {
            let grant = Grant.disabledSystemUser(try user.decode(0))
            if try former.names(grant.name) { try grants.set(grant, under: kek) }
        }
    }
}
