import Authentication
import CellCrypto
import Foundation
import KeyManagement
import Organizations
import PostgresClient
import Records
import Tenancy

extension Doctor {
    /// Checks that the rows that grant access in an organization are as this service wrote them last. Reports rows that SQL
    /// inserted, changed or restored, revocations that SQL undid, and keys that SQL put back into force.
    func attestation(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        let state = try OrganizationState.read(organization.name, in: deployment, isInspection: true, on: connection)
        do {
            try state.verifyRow(under: deployment.kek)
        } catch let problem as AttestationProblem {
            return [
                Finding(
                    .error, "state-not-attested", organization.name, "the organization is refused: \(problem.description)",
                    advice: "find out who changed the database; fieldseal org attach \(organization.name) shows what differs")
            ]
        }
        var findings: [Finding] = []
        if let problem = state.problem, state.endProblem == nil {
            findings.append(
                Finding(
                    .error, "state-not-attested", organization.name, "the organization is refused: \(problem.description)",
                    advice: "restore the newer state, or accept this one: fieldseal org attach \(organization.name)"))
        }
        findings += try keyInForce(state, on: connection)
        for row in try GrantRow.all(of: organization, on: connection) {
            let standing = try state.grants.standing(of: row.grant, tag: row.tag, under: deployment.kek)
            // A row whose tag does not match it is a changed row, and not an older version of the row.
            let isNewest =
                try !row.grant.fits(row.tag, under: deployment.kek)
                || state.grants.isLast(row.tag, of: row.grant, under: deployment.kek)
            if let finding = Self.finding(row, standing, isNewest: isNewest, organization) { findings.append(finding) }
        }
        findings += try storedKeys(state, on: connection)
        findings += try keyDerivation(state)
        findings += try grantedRoles(state, on: connection)
        findings += try keyControl(state, on: connection)
        findings += try suspension(state, on: connection)
        let others = try ListedNames(of: organization, on: connection).missing(in: state.grants)
        let users = try disabledUsers(state, among: others, on: connection)
        findings += users.findings
        return findings + (try missingRows(state, others.count - users.named, among: others, on: connection))
    }

    /// Reports rows of the attested list that SQL deleted: keys, by name, and the number of other rows.
    ///
    /// - Parameters:
    ///   - count: How many names of the list belong to no row, not counting the names of systemusers.
    ///   - names: The names that `count` counts, and the names of systemusers.
    private func missingRows(
        _ state: OrganizationState, _ count: Int, among names: [GrantList.Digest], on connection: isolated PostgresConnection
    ) throws -> [Finding] {
        let organization = state.organization
        let keys = try MissingKey.all(of: state, on: connection)
        var findings = keys.map { key in
            Finding(
                .warning, "key-row-missing", organization.name,
                "SQL deleted the wrapped key of version \(key.version), fingerprint \(key.fingerprint): backups from its time open "
                    + "only with its text",
                advice: "restore the row from a backup of config, or accept in the console that the key is gone (Data Encryption)")
        }
        // If the key in force has no row, encryption is not active. Another finding reports that, so it is not counted here.
        let inForce = try Grant.organizationKeyName(version: state.keyVersion, fingerprint: state.fingerprint).digest()
        let rows = count - keys.filter { !$0.hasRow }.count - (names.contains(inForce) ? 1 : 0)
        if rows > 0 {
            findings.append(
                Finding(
                    .warning, "attested-rows-missing", organization.name,
                    "SQL deleted \(rows == 1 ? "a row" : "\(rows) rows") that granted access, or that held a key which no "
                        + "security event names",
                    advice:
                        "restore the rows from a backup, or accept that they are gone: fieldseal org attach \(organization.name)"
                ))
        }
        return findings
    }

    private static func finding(
        _ row: GrantRow, _ standing: GrantList.Standing, isNewest: Bool, _ organization: Organization
    ) -> Finding? {
        switch standing {
        case .authentic: return nil
        case .revoked where row.isDisabled && isNewest: return nil
        case .revoked where row.isDisabled:
            return Finding(
                .error, "row-put-back", organization.name,
                "SQL restored an older state of the row of the \(row.title). The row is disabled, and can't be enabled",
                advice: "find out who did it; remove the row, and add another: fieldseal user remove, fieldseal client remove")
        case .revoked where ![.client, .user].contains(row.grant.name.kind):
            return Finding(
                .error, "row-put-back", organization.name,
                "the \(row.title) has no effect since the organization was attached again",
                advice:
                    "make a new one, and remove the old one: fieldseal client rotate, client remove-key, user reset, issuer remove")
        case .revoked:
            return Finding(
                .error, "revocation-undone", organization.name,
                "SQL enabled the \(row.title) again, which this service had revoked. The row has no effect",
                advice: "find out who did it, and disable or delete the row again")
        case .putBack:
            return Finding(
                .error, "row-put-back", organization.name,
                "SQL restored an older state of the row of the \(row.title). The row has no effect",
                advice: "find out who did it; remove the row, and add another: fieldseal user remove, fieldseal client remove")
        case .foreign:
            return Finding(
                .error, code(of: row.grant.name.kind), organization.name,
                "the \(row.title) was made or changed by SQL, not by this service. The row has no effect",
                advice: "find out who wrote the row, and disable or delete it: fieldseal client disable, fieldseal user disable")
        }
    }

    private static func code(of kind: Grant.Kind) -> String {
        switch kind {
        case .client: "client-not-made-here"
        case .clientSecret: "secret-not-made-here"
        case .clientKey: "client-key-not-made-here"
        case .user: "user-not-made-here"
        case .recoveryCode: "recovery-code-not-made-here"
        case .session: "session-not-made-here"
        case .issuer: "issuer-not-made-here"
        case .link: "link-not-made-here"
        case .approval: "approval-not-made-here"
        case .organizationKey, .disabledSystemUser, .suspension, .secondFactorPolicy, .mailServer, .keyDerivation, .keyControl,
            .invitation, .ownPassword, .secrets, .sessions, .codes, .keys, .links:
            "row-not-made-here"
        case .userRole, .teamRole, .teamMember, .role, .rolesWereGiven: "role-not-given-here"
        }
    }

    /// Checks that the schema names the attested key.
    private func keyInForce(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> [Finding] {
        guard !state.namesAttestedKey, let attested = state.attested else { return [] }
        let retired = try connection.query(
            """
            SELECT FROM config.organization_key
             WHERE organization_id = $1 AND key_version = $2 AND fingerprint = $3 AND retired_on IS NOT NULL
            """, [.uuid(state.organization.id), .int32(Int32(state.keyVersion)), .text(state.fingerprint)])
        let isRetired = !retired.isEmpty || state.keyVersion < attested.keyVersion
        let name = Grant.organizationKeyName(version: state.keyVersion, fingerprint: state.fingerprint)
        let wasStored = try state.grants.names(name)
        let schema = state.organization.schema
        return [
            Finding(
                .error, isRetired ? "retired-key-in-force" : "key-not-attested", state.organization.name,
                "the schema names key version \(state.keyVersion), fingerprint \(state.fingerprint)\(isRetired ? ", which is retired" : ""), "
                    + "and this service put version \(attested.keyVersion), fingerprint \(attested.fingerprint), in force; passwords can't be set",
                advice: wasStored || isRetired
                    ? "restore the schema; or, after an intended restore, accept its state: fieldseal org attach "
                        + "\(state.organization.name)"
                    : "this service never stored the key that the schema names. The passwords are in the tables of version "
                        + "\(attested.keyVersion), unless SQL dropped these tables: restore the schema; or, as a superuser with "
                        + "fieldseal.maintenance on, restore the row of \(schema).encryption from a backup, and drop the "
                        + "triggers a_retired of those tables")
        ]
    }

    /// Checks that this service wrote each wrapped key.
    private func storedKeys(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> [Finding] {
        try StoredKey.all(of: state.organization.id, on: connection).compactMap { key in
            guard try !state.grants.holds(key.grant, under: deployment.kek) else { return nil }
            return Finding(
                .error, "key-row-changed", state.organization.name,
                "the wrapped key of version \(key.version), fingerprint \(key.fingerprint), was changed by SQL. The service does "
                    + "not show this key",
                advice: "change the key (fieldseal key change), copy the new key, and purge the old one: fieldseal key purge")
        }
    }

    /// Checks that the schema still has the values from which the data key is derived. Recovery without `config` needs these
    /// values.
    private func keyDerivation(_ state: OrganizationState) throws -> [Finding] {
        let grant = state.keyDerivation
        guard state.namesAttestedKey, try state.grants.names(grant.name), try !state.grants.holds(grant, under: deployment.kek)
        else {
            return []
        }
        return [
            Finding(
                .error, "key-derivation-changed", state.organization.name,
                "the salt, the iterations or the key check in the organization's table encryption were changed by SQL. With the "
                    + "key's text alone, no cell can be opened",
                advice: "restore that row from a backup; or change the key: fieldseal key change")
        ]
    }

    /// The systemusers that SQL enabled again, and how many of the names are those of systemusers.
    ///
    /// - Parameter names: The names in the attested list that belong to no other row. PostgreSQL looks them up, because an
    ///   organization may have many systemusers.
    private func disabledUsers(
        _ state: OrganizationState, among names: [GrantList.Digest], on connection: isolated PostgresConnection
    ) throws -> (findings: [Finding], named: Int) {
        guard !names.isEmpty else { return ([], 0) }
        let digests = names.map { hexadecimal($0.bytes) }
        let users = try connection.query(
            """
            SELECT coalesce(fullname, ''), coalesce(isdisabled, false) FROM \(state.organization.qualified("systemuser"))
             WHERE encode(substring(sha256($1 || uuid_send(systemuserid)) FOR \(GrantList.Digest.length)), 'hex') = ANY ($2)
            """, [.bytes(Grant.Name.prefix(.disabledSystemUser, keyLength: MemoryLayout<uuid_t>.size)), .texts(digests)])
        let findings = try users.compactMap { user -> Finding? in
            guard try !user.decode(1, as: Bool.self) else { return nil }
            return Finding(
                .error, "revocation-undone", state.organization.name,
                "SQL enabled the systemuser \(try user.decode(0, as: String.self)) again, which was disabled. For the service, "
                    + "the user stays disabled",
                advice: "find out who did it. To enable the user, set isdisabled to false with the Web API")
        }
        return (findings, users.count)
    }
}
