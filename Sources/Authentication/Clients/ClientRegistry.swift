import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient
import Records
package import Tenancy

/// API clients: programs that get tokens with a secret or a key. Each acts as one systemuser with one role.
///
/// Rows are attested (see ``Grant``). A row that SQL inserted, changed or restored has no effect.
package struct ClientRegistry: Sendable {
    let deployment: Deployment

    package init(_ deployment: Deployment) {
        self.deployment = deployment
    }

    /// A client in the output of `client list`.
    package struct Entry: Sendable {
        package let id: UUID
        package let name: String
        package let role: String
        package let systemUserID: UUID
        package let createdOn: Date
        package let disabledOn: Date?
        /// Whether this service wrote the row.
        package let isAuthentic: Bool
        package let keys: [KeyEntry]
        package let secrets: [SecretEntry]
    }

    /// Adds a client and its systemuser.
    ///
    /// - Parameters:
    ///   - key: The public key with which it authenticates; nil for a secret.
    ///   - secretSeconds: The lifetime of the secret; nil for no expiry.
    ///   - deliver: Hands over the id and the secret. If it throws, nothing is changed.
    /// - Returns: The id and the secret: 32 random bytes in base64url, shown once and not stored. The secret is nil for a client
    ///   with a key.
    /// - Throws: ``FieldsealError`` when the name is taken.
    func add(
        name: String,
        role: Role,
        key: ClientKey? = nil,
        secretSeconds: Int? = nil,
        to organization: Organization,
        by caller: Caller,
        on connection: isolated PostgresConnection,
        deliver: (UUID, String) throws -> Void = { _, _ in }
    ) throws -> (id: UUID, secret: String?) {
        guard (1...100).contains(name.count), name.isVisible else {
            throw FieldsealError(
                .invalidArgument, "A client's name has 1 to 100 characters, and no control characters or invisible ones.")
        }
        let id = UUID.timeOrdered()
        let secret = key == nil ? Data(try randomBytes(count: 32)).base64URL : nil
        let userID = UUID.timeOrdered()
        let grant = OrganizationState.ClientRow.grant(
            id, organization, name: name, systemUser: userID, role: role.rawValue, disabledOn: nil)
        try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            try change.requireAccessControl(toAdd: name, role, key: key, by: caller, on: connection)
            let names = try connection.query(
                "SELECT name FROM config.api_client WHERE organization_id = $1", [.uuid(organization.id)])
            for row in names where try row.decode(0, as: String.self).comparedAsName == name.comparedAsName {
                throw FieldsealError(
                    .duplicateRecord,
                    "There is a client named \(try row.decode(0, as: String.self)) already. Disable it, or take another name.")
            }
            let user = try NewRecord.systemUser(
                id: userID, name: "# \(name)", domainName: "client\\\(name)", application: id, in: organization, by: caller,
                on: connection)
            try user.insert(into: organization, by: caller, on: connection)
            do {
                _ = try connection.query(
                    """
                    INSERT INTO config.api_client (client_id, organization_id, name, systemuser_id, role, tag, created_by)
                    VALUES ($1, $2, $3, $4, $5, $6, $7)
                    """,
                    [
                        .uuid(id), .uuid(organization.id), .text(name), .uuid(userID), .text(role.rawValue),
                        .bytes(try change.grant(grant)), .text(caller.actor),
                    ]
                )
            } catch let error as PostgresError where error.state == .uniqueViolation {
                throw FieldsealError(
                    .duplicateRecord, "There is a client named \(name) already. Disable it, or take another name.")
            }
            var details = "\(name), \(role.rawValue)"
            if let secret { try addSecret(secret, to: id, seconds: secretSeconds, &change, on: connection) }
            if let key {
                _ = try addKey(key, to: id, by: caller, &change, on: connection)
                details += ", \(key.kind), SHA-256 \(key.fingerprint)"
            }
            try change.append(SecurityEvent(.clientAdded, .succeeded, details: details), by: caller, on: connection)
            if let secret { try deliver(id, secret) }
        }
        return (id, secret)
    }

    func addSecret(
        _ secret: String,
        to client: UUID,
        seconds: Int?,
        _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        let salt = try randomBytes(count: 16)
        let row = SecretRow(
            id: .timeOrdered(), client: client, salt: salt, verifier: try Self.verifier(of: secret, salt: salt),
            expiresOn: seconds.map { change.now.adding(seconds: $0) })
        _ = try connection.query(
            """
            INSERT INTO config.api_client_secret (secret_id, client_id, salt, verifier, expires_on, tag) VALUES ($1, $2, $3, $4, $5, $6)
            """,
            [
                .uuid(row.id), .uuid(client), .bytes(salt), .bytes(row.verifier), .moment(row.expiresOn),
                .bytes(try change.grant(row.grant)),
            ])
    }

    /// The clients of an organization, by name.
    func list(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> [Entry] {
        var keys: [UUID: [KeyEntry]] = [:]
        for (row, tag, _) in try Self.keyRows(of: state.organization, on: connection) {
            let key = try? ClientKey(der: row.publicKey, expiresOn: nil)
            keys[row.client, default: []].append(
                KeyEntry(
                    id: row.id, kind: key?.kind ?? "unknown", fingerprint: key?.fingerprint ?? "",
                    expiresOn: row.expiresOn.map { $0.date },
                    certificate: row.certificate.map { hexadecimal($0) },
                    bindsTokens: row.bindsTokens,
                    isAuthentic: try state.grants.authenticates(row.grant, tag: tag, under: deployment.kek)))
        }
        let secrets = try secrets(state, on: connection)
        return try Self.rows(of: state.organization, on: connection).map { row, createdOn in
            return Entry(
                id: row.id, name: row.name, role: row.role, systemUserID: row.systemUserID, createdOn: createdOn,
                disabledOn: row.disabledOn.map { $0.date },
                isAuthentic: try row.isNewest(in: state.grants, of: state.organization, under: deployment.kek),
                keys: keys[row.id] ?? [],
                secrets: secrets[row.id] ?? [])
        }
    }

    /// Every row of an organization by name, unverified.
    ///
    /// - Parameter user: Only clients that act as this systemuser.
    package static func rows(of organization: Organization, actingAs user: UUID? = nil, on connection: isolated PostgresConnection)
        throws
        -> [(row: OrganizationState.ClientRow, createdOn: Date)]
    {
        try connection.query(
            """
            SELECT client_id, name, systemuser_id, role, tag, disabled_on, created_on FROM config.api_client
             WHERE organization_id = $1 AND ($2::uuid IS NULL OR systemuser_id = $2) ORDER BY name
            """, [.uuid(organization.id), .uuid(user)]
        ).map { row in
            (
                OrganizationState.ClientRow(
                    id: try row.decode(0), name: try row.decode(1), systemUserID: try row.decode(2), role: try row.decode(3),
                    tag: try row.decode(4, as: PostgresBytes.self).bytes, disabledOn: try row.decodeIfPresent(5),
                    businessUnitID: nil, isUserDisabled: false),
                try row.decode(6, as: PostgresMoment.self).date
            )
        }
    }

    /// The row of a client by its name or id.
    ///
    /// - Throws: ``FieldsealError`` when there is none.
    static func row(_ nameOrID: String, of organization: Organization, on connection: isolated PostgresConnection) throws
        -> OrganizationState.ClientRow
    {
        let rows = try rows(of: organization, on: connection).map(\.row)
        // An id has priority over a name, because SQL could give another row that name.
        guard let row = rows.first(where: { $0.id.text == nameOrID.lowercased() }) ?? rows.first(where: { $0.name == nameOrID })
        else {
            throw FieldsealError(
                .objectDoesNotExist, "\(organization.name) has no client \(nameOrID); see `fieldseal client list`.")
        }
        return row
    }

    /// The row of a client by its name or id, if it is the last one that this service wrote. So the name is the client's own.
    ///
    /// - Throws: ``FieldsealError`` when there is none, or SQL changed it.
    static func row(
        _ nameOrID: String, of organization: Organization, in grants: GrantList, under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws -> OrganizationState.ClientRow {
        let row = try row(nameOrID, of: organization, on: connection)
        guard try row.isNewest(in: grants, of: organization, under: kek) else {
            throw foreign(row.name)
        }
        return row
    }

    static func foreign(_ name: String) -> FieldsealError {
        FieldsealError(
            .accessDenied,
            "The row of the client \(name.quotedForMessage) was changed past this service. Remove the client, and add another.")
    }

    /// Disables a client. Its tokens are refused from now on.
    ///
    /// - Throws: ``FieldsealError`` when there is no client with that name or id.
    func disable(
        _ nameOrID: String,
        evenIfLast: Bool,
        of organization: Organization,
        by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws {
        try AttestedState.change(of: organization, under: deployment.kek, on: connection) { change in
            // An id has priority over a name, because SQL could give another row that name.
            let rows = try Self.rows(of: organization, on: connection).map(\.row)
            var found = rows.first { $0.id.text == nameOrID.lowercased() }
            if found == nil {
                if try disableHidden(nameOrID, &change, by: caller, on: connection) { return }
                found = rows.first { $0.name == nameOrID }
            }
            guard let row = found else {
                throw FieldsealError(
                    .objectDoesNotExist,
                    "\(organization.name) has no client \(nameOrID); see `fieldseal client list`. A client whose row was deleted past "
                        + "this service is disabled by its id.")
            }
            let disabledOn = row.disabledOn ?? change.now
            let disabled = OrganizationState.ClientRow.grant(
                row.id, organization, name: row.name, systemUser: row.systemUserID, role: row.role, disabledOn: disabledOn)
            // A row that SQL changed keeps its tag, so it still does not verify. Nor does a former state that SQL put back.
            let isOwn = try change.grants.authenticates(row.grant(in: organization), tag: row.tag, under: deployment.kek)
            let tag = isOwn ? try disabled.tag(under: change.kek) : row.tag
            try change.keepingAnAdministrator(evenIfLast: evenIfLast, on: connection) { change in
                _ = try connection.query(
                    "UPDATE config.api_client SET disabled_on = $2, tag = $3 WHERE client_id = $1",
                    [.uuid(row.id), .moment(disabledOn), .bytes(tag)])
                try change.revoke(OrganizationState.ClientRow.name(row.id), tag: isOwn ? tag : nil)
            }
            try change.append(SecurityEvent(.clientDisabled, .succeeded, details: nameOrID), by: caller, on: connection)
        }
    }

    /// Revokes a client whose row SQL deleted. If the row is restored, it grants nothing.
    ///
    /// - Returns: False unless the attested list has a client with that id.
    private func disableHidden(
        _ id: String, _ change: inout AttestedChange, by caller: Caller, on connection: isolated PostgresConnection
    ) throws -> Bool {
        guard let name = UUID(text: id.lowercased()).map(OrganizationState.ClientRow.name), try change.grants.names(name) else {
            return false
        }
        try change.revoke(name)
        try change.append(
            SecurityEvent(.clientDisabled, .succeeded, details: "\(id), whose row was deleted past this service"), by: caller,
            on: connection)
        return true
    }

    static func unknown(_ id: String, _ organization: Organization) -> FieldsealError {
        FieldsealError(.objectDoesNotExist, "\(organization.name) has no client \(id); see `fieldseal client list`.")
    }

    /// Whether a client authenticated with one of its valid secrets or keys, is enabled, and has an attested row.
    ///
    /// - Throws: 429 after too many failures: of this client from this network, or of the network. ``AssertionProblem`` for an
    ///   assertion that was used before.
    package func verify(
        _ proof: ClientProof,
        clientID: UUID,
        of organization: Organization,
        address: String,
        requestID: String?
    ) async throws -> Bool {
        let (failures, wait) = try await deployment.pool.withConnection { connection in
            let isKnown: Bool = try connection.query(
                "SELECT EXISTS (SELECT FROM config.api_client WHERE client_id = $1 AND organization_id = $2)",
                [.uuid(clientID), .uuid(organization.id)])[0].decode(0)
            let failures = AttemptLimiter(
                isKnown ? .known("client:\(clientID)") : .unknownID, from: address, policy: deployment.policy)
            return (failures, try failures.begin(on: connection))
        }
        if wait > .zero { try await Task.sleep(for: wait) }
        return try await deployment.pool.withConnection { connection in
            var problem: AssertionProblem?
            let (name, isRight) = try isRight(proof, for: clientID, of: organization, &problem, on: connection)
            if isRight { try failures.succeed(on: connection) }
            if let name {
                let caller = Caller(
                    actor: "client:\(name)", clientID: clientID, systemUserID: nil, role: .basicUser, address: address,
                    requestID: requestID)
                try SecurityEvent(.signedIn, isRight ? .succeeded : .refused)
                    .insert(for: organization, by: caller, under: deployment.kek, on: connection)
            }
            if let problem { throw problem }
            return isRight
        }
    }

    /// - Parameter problem: The problem of an assertion that one of the client's keys signed.
    /// - Returns: The client's name, if there is an enabled client; and whether it authenticated.
    private func isRight(
        _ proof: ClientProof,
        for clientID: UUID,
        of organization: Organization,
        _ problem: inout AssertionProblem?,
        on connection: isolated PostgresConnection
    ) throws -> (name: String?, isRight: Bool) {
        // Read before the secrets, so that a row newer than the list is not used yet.
        let state = try OrganizationState.read(organization.name, client: clientID, in: deployment, on: connection)
        guard let client = state.client, try state.mayAct(client, under: deployment.kek) else { return (nil, false) }
        do {
            switch proof {
            case .secret(let secret): return (client.name, try accepts(secret, of: clientID, in: state, on: connection))
            case .assertion(let assertion):
                return (client.name, try accepts(assertion, of: clientID, in: state, on: connection))
            case .certificate(let certificate):
                return (client.name, try row(of: certificate, of: clientID, in: state, on: connection) != nil)
            }
        } catch let error as AssertionProblem {
            problem = error
            return (client.name, false)
        }
    }

    private func accepts(
        _ secret: String, of clientID: UUID, in state: OrganizationState, on connection: isolated PostgresConnection
    ) throws -> Bool {
        let rows = try connection.query(
            "SELECT secret_id, salt, verifier, expires_on, tag, now() FROM config.api_client_secret WHERE client_id = $1",
            [.uuid(clientID)])
        var isRight = false
        for row in rows {
            let (secretRow, tag) = try Self.secretRow(row, of: clientID)
            let isAuthentic = try state.grants.authenticates(secretRow.grant, tag: tag, under: deployment.kek)
            let isCurrent = try secretRow.expiresOn.map { try $0 > row.decode(5, as: PostgresMoment.self) } ?? true
            let matches = constantTimeEqual(secretRow.verifier, try Self.verifier(of: secret, salt: secretRow.salt))
            isRight = isRight || (isAuthentic && isCurrent && matches)
        }
        return isRight
    }

    /// Salted SHA-256. A secret of 32 random bytes needs no slow hash, which attackers could use to load the endpoint.
    private static func verifier(of secret: String, salt: [UInt8]) throws -> [UInt8] {
        try sha256(salt + Array(secret.utf8))
    }

    // MARK: Attested contents

    /// A row of `config.api_client_secret`.
    package struct SecretRow: Sendable {
        package let id: UUID
        let client: UUID
        package let salt: [UInt8]
        package let verifier: [UInt8]
        package let expiresOn: PostgresMoment?

        package var grant: Grant {
            Grant(Grant.Name(.clientSecret, [id.bytes]), [client.bytes, salt, verifier, Grant.field(expiresOn)])
        }
    }

    /// Reads the columns `secret_id, salt, verifier, expires_on, tag`.
    package static func secretRow(_ row: PostgresRow, of client: UUID) throws -> (row: SecretRow, tag: [UInt8]) {
        func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
        return (
            SecretRow(
                id: try row.decode(0), client: client, salt: try bytes(1), verifier: try bytes(2),
                expiresOn: try row.decodeIfPresent(3)),
            try bytes(4)
        )
    }
}
