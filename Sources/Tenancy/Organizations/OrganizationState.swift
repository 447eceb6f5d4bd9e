package import CellCrypto
package import Foundation
import Migrations
import Model
package import PostgresClient

/// The state of an organization in the database at one moment: its key version, its key in `config`, and its attested state.
package struct OrganizationState: Sendable {
    package let organization: Organization
    package let keyVersion: Int
    package let fingerprint: String
    package let salt: [UInt8]
    package let iterations: Int
    package let keyCheck: [UInt8]
    package let changedOn: Date
    /// The wrapped data key; nil if `config` has none, so that a key is required.
    let wrappedData: [UInt8]?
    /// The id of the key-encryption key that wrapped the data key, as 16 hexadecimal digits.
    let kekID: String?
    private let newestHash: [UInt8]
    /// The row of the requested client in `api_client`, if it exists.
    package let client: ClientRow?
    /// The last state that this service wrote. This state is nil, or must not be trusted, if there is a ``problem``.
    package let attested: AttestedState?
    /// The attested list of rows that grant access.
    package let grants: GrantList
    /// The number of the newest security event; 0 if there is none.
    package let newestEvent: Int
    /// The reason for which ``attested`` must not be trusted.
    package private(set) var problem: AttestationProblem? = .unverified
    /// The roles that records give to the client's systemuser, in addition to the client's own role.
    package private(set) var grantedRoles: RoleSet = []

    /// A row of `config.api_client`.
    package struct ClientRow: Sendable {
        package let id: UUID
        package let name: String
        package let systemUserID: UUID
        package let role: String
        package let tag: [UInt8]
        package let disabledOn: PostgresMoment?
        /// The business unit of the client's systemuser.
        package let businessUnitID: UUID?
        /// Whether the record of the client's systemuser says that the systemuser is disabled.
        package let isUserDisabled: Bool

        package init(
            id: UUID,
            name: String,
            systemUserID: UUID,
            role: String,
            tag: [UInt8],
            disabledOn: PostgresMoment?,
            businessUnitID: UUID?,
            isUserDisabled: Bool
        ) {
            self.id = id
            self.name = name
            self.systemUserID = systemUserID
            self.role = role
            self.tag = tag
            self.disabledOn = disabledOn
            self.businessUnitID = businessUnitID
            self.isUserDisabled = isUserDisabled
        }
    }

    /// The business unit of the client's systemuser.
    var callersUnit: UUID? { client?.businessUnitID }

    /// Whether the attested state verifies, and the schema names the same key as that state.
    package var isKeyAttested: Bool { problem == nil && namesAttestedKey }

    /// Whether the schema names the key in ``attested``, even if ``attested`` was not verified.
    package var namesAttestedKey: Bool { attested?.keyVersion == keyVersion && attested?.fingerprint == fingerprint }

    /// What is needed to derive the data key from the organization key's text: salt and iterations, with the key check. All three
    /// values come from the schema.
    package var keyDerivation: Grant { Grant.keyDerivation(salt: salt, iterations: iterations, keyCheck: keyCheck) }

    /// Whether this service suspended the organization, regardless of its row in `config`.
    package func isSuspended() throws -> Bool { try grants.names(Grant.suspension.name) }

    /// Whether this service disabled a systemuser, regardless of its record.
    package func isDisabled(systemUser id: UUID) throws -> Bool { try grants.names(Grant.disabledSystemUser(id).name) }

    /// Reads the state in one statement, and verifies the attested part.
    ///
    /// - Parameters:
    ///   - client: The API client to read too.
    ///   - isInspection: Whether to return a state that does not verify, with its ``problem``, for inspection only.
    /// - Throws: ``FieldsealError`` `.noResource` when there is no such organization, or its schema is missing.
    ///   `.organizationDisabled` when a table is missing, the schema is older or newer than this program's, or the attested state
    ///   does not verify. Also when the organization is suspended, and the deployment does not serve suspended organizations.
    package static func read(
        _ name: String,
        client: UUID? = nil,
        in deployment: Deployment,
        isInspection: Bool = false,
        on connection: isolated PostgresConnection
    ) throws -> OrganizationState {
        let seen = deployment.seenStates.snapshot
        var state: OrganizationState
        do {
            state = try read(name, client: client, known: deployment.seenStates.grants(named: name), on: connection)
        } catch let error as FieldsealError {
            if error.code == .noResource { deployment.stateRefusals.end(name) }
            throw deployment.absence(of: name, error)
        }
        do {
            try state.verify(under: deployment.kek)
            if let attested = state.attested { try seen.newest(of: attested.organizationID)?.check(attested) }
            state.problem = nil
            deployment.stateRefusals.end(name)
            if !deployment.servesSuspended, try state.isSuspended() { throw FieldsealError.suspended(name) }
        } catch let problem as AttestationProblem {
            guard isInspection else {
                deployment.stateRefusals.refuse(name, problem, revision: state.attested?.revision ?? 0)
                throw FieldsealError.notAttested(name, problem, given: deployment.kek.id)
            }
            state.problem = problem
        }
        if let row = state.client {
            state.grantedRoles = try state.grantedRoles(of: row.systemUserID, under: deployment.kek, on: connection)
        }
        return state
    }

    /// Reads the state in one statement and verifies nothing, for counting and copying only.
    package static func read(
        _ name: String,
        client: UUID? = nil,
        known: SeenStates.KnownGrants? = nil,
        on connection: isolated PostgresConnection
    ) throws -> OrganizationState {
        guard Organization.isName(name) else { throw FieldsealError.noSuchOrganization(name) }
        let schema = quoteIdentifier(Organization.schema(of: name))
        let rows: PostgresResult
        do {
            rows = try connection.query(
                """
                SELECT o.organization_id, e.key_version, e.fingerprint, e.salt, e.iterations, e.key_check, e.changed_on,
                       k.wrapped_data, k.kek_id, o.schema_version, v.security_event_id, v.hash,
                       c.name, c.systemuser_id, c.role, c.tag, c.disabled_on, u.businessunitid, coalesce(u.isdisabled, false),
                       CASE WHEN a.grants_digest IS DISTINCT FROM $3 THEN a.grants END,
                       \(AttestedState.columns)
                  FROM config.organization AS o
                  JOIN \(schema).encryption AS e USING (organization_id)
                  LEFT JOIN config.organization_key AS k
                    ON (k.organization_id, k.key_version, k.fingerprint) = (o.organization_id, e.key_version, e.fingerprint)
                  LEFT JOIN config.api_client AS c ON c.organization_id = o.organization_id AND c.client_id = $2
                  LEFT JOIN \(schema).systemuser AS u ON u.systemuserid = c.systemuser_id
                  LEFT JOIN config.attested_state AS a ON a.organization_id = o.organization_id
                  LEFT JOIN LATERAL (SELECT security_event_id, hash FROM \(schema).security_event
                                      ORDER BY security_event_id DESC LIMIT 1) AS v ON true
                 WHERE o.name = $1
                """,
                [.text(name), .uuid(client), .bytes(known?.digest)]
            )
        } catch let error as PostgresError where [.undefinedTable, .undefinedSchema].contains(error.state) {
            do {
                throw try OrganizationTables.problem(of: name, on: connection)
            } catch let other as PostgresError where other.state == .failedTransaction {
                throw OrganizationTables.problem(of: name, after: error)
            }
        } catch let error as PostgresError where error.state == .undefinedColumn {
            // A schema of an older version lacks a column.
            let version = try connection.query("SELECT schema_version FROM config.organization WHERE name = $1", [.text(name)])
            try check(schemaVersion: try version.first?.decodeIfPresent(0), of: name)
            throw error
        }
        guard let row = rows.first else { throw FieldsealError.noSuchOrganization(name) }
        try check(schemaVersion: try row.decodeIfPresent(9), of: name)
        return try OrganizationState(row, name: name, client: client, known: known)
    }

    private init(_ row: PostgresRow, name: String, client id: UUID?, known: SeenStates.KnownGrants?) throws {
        func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
        organization = Organization(id: try row.decode(0), name: name)
        keyVersion = try row.decode(1)
        fingerprint = try row.decode(2)
        salt = try bytes(3)
        iterations = try row.decode(4)
        keyCheck = try bytes(5)
        changedOn = try row.decode(6)
        wrappedData = row.isNull(7) ? nil : try bytes(7)
        kekID = try row.decodeIfPresent(8)
        newestEvent = try row.decodeIfPresent(10) ?? 0
        newestHash = row.isNull(11) ? [] : try bytes(11)
        if let id, !row.isNull(12) {
            client = ClientRow(
                id: id, name: try row.decode(12), systemUserID: try row.decode(13), role: try row.decode(14), tag: try bytes(15),
                disabledOn: try row.decodeIfPresent(16), businessUnitID: try row.decodeIfPresent(17),
                isUserDisabled: try row.decode(18))
        } else {
            client = nil
        }
        guard !row.isNull(Self.attestedColumn) else {
            (attested, grants, problem) = (nil, GrantList(), .missing)
            return
        }
        attested = try AttestedState(row, at: Self.attestedColumn)
        guard !row.isNull(19) else {
            grants = known?.list ?? GrantList()
            return
        }
        let list = try bytes(19)
        grants = GrantList(list) ?? GrantList()
        if try sha256(list) != attested?.grantsDigest || grants.bytes != list { problem = .grants }
    }

    private static let attestedColumn = 20

    private func verify(under kek: KeyEncryptionKey) throws {
        try verifyRow(under: kek)
        if let endProblem { throw endProblem }
    }

    /// Verifies the tag of the row in `config.attested_state`, and nothing else.
    package func verifyRow(under kek: KeyEncryptionKey) throws {
        guard let attested else { throw AttestationProblem.missing }
        try attested.verify(under: kek)
        if problem == .grants { throw AttestationProblem.grants }
    }

    /// The problem if the chain of events does not end at the attested event.
    package var endProblem: AttestationProblem? {
        guard let attested else { return .missing }
        guard newestEvent == attested.newestEvent else {
            return .events(attested: attested.newestEvent, newest: newestEvent)
        }
        return constantTimeEqual(newestHash, attested.head) ? nil : .eventChanged(newestEvent)
    }

    /// The newest migration of an organization's schema in this program.
    package static let schemaVersion = MigrationCatalog.migrations(.organization).last?.name ?? ""

    private static func check(schemaVersion version: String?, of name: String) throws(FieldsealError) {
        guard version != schemaVersion else { return }
        let isKnown = version.map { version in MigrationCatalog.migrations(.organization).contains { $0.name == version } } ?? true
        throw FieldsealError(
            .organizationDisabled,
            "The schema of \(name) is at \(version ?? "no migration"), and this server knows \(schemaVersion): "
                + (isKnown ? "fieldseal migrate up --org \(name)." : "it needs a newer server."))
    }
}
