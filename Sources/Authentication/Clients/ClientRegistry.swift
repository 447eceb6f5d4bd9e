import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

/// API clients: programs that get tokens with a secret or a key. Each client acts as one systemuser with one role.
///
/// Rows are attested (see ``Grant``). A row that SQL inserted, changed or restored has no effect.
package struct ClientRegistry: Sendable {
    let deployment: Deployment

    package init(_ deployment: Deployment) {
        self.deployment = deployment
    }

    /// Every row of an organization by name, unverified.
    ///
    /// - Parameter user: Limits the rows to clients that act as this systemuser; nil for all clients.
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
    /// - Throws: ``FieldsealError`` when there is no such client.
    static func row(_ nameOrID: String, of organization: Organization, on connection: isolated PostgresConnection) throws
        -> OrganizationState.ClientRow
    {
        let rows = try rows(of: organization, on: connection).map(\.row)
        // The text is first looked for among the ids, because SQL could give another row this text as its name.
        guard let row = rows.first(where: { $0.id.text == nameOrID.lowercased() }) ?? rows.first(where: { $0.name == nameOrID })
        else {
            throw unknown(nameOrID, organization)
        }
        return row
    }

    /// The row of a client by its name or id, if the row is as this service wrote it last. So a row to which SQL gave
    /// another client's name is refused.
    ///
    /// - Throws: ``FieldsealError`` when there is no such client, or SQL changed its row.
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

    /// The row of a client whose access is to end. A name only finds a row that this service wrote last. An id also finds a row
    /// that SQL changed.
    ///
    /// - Throws: ``FieldsealError`` for a name on a row that SQL wrote or changed.
    static func row(
        toEnd nameOrID: String, among rows: [OrganizationState.ClientRow], _ change: AttestedChange
    ) throws -> OrganizationState.ClientRow? {
        if let row = rows.first(where: { $0.id.text == nameOrID.lowercased() }) { return row }
        guard let row = rows.first(where: { $0.name == nameOrID }) else { return nil }
        guard try row.isNewest(in: change.grants, of: change.organization, under: change.kek) else {
            throw FieldsealError.notTheNamedRow(row.name, row.id)
        }
        return row
    }

    static func unknown(_ nameOrID: String, _ organization: Organization) -> FieldsealError {
        FieldsealError(.objectDoesNotExist, "\(organization.name) has no client \(nameOrID); see `fieldseal client list`.")
    }

    static func foreign(_ name: String) -> FieldsealError {
        FieldsealError(
            .accessDenied,
            "The row of the client \(name.quotedForMessage) was changed by SQL, and not by the service. Remove the client, and add "
                + "another."
        )
    }

    /// Whether a client authenticated with one of its valid secrets or keys, is enabled, and has an attested row.
    ///
    /// An id that no enabled client has is counted, looked up and recorded in the same way, except that its event is rolled back. So
    /// neither answers nor response times tell which ids exist.
    ///
    /// - Throws: 429 after too many failures of this client from this network, or of all clients from this network.
    ///   ``AssertionProblem`` for an assertion that was used before.
    package func verify(
        _ proof: ClientProof,
        clientID: UUID,
        of organization: Organization,
        address: String,
        requestID: String?
    ) async throws -> Bool {
        let failures = AttemptLimiter(.account("client:\(clientID)"), from: address, policy: deployment.policy)
        let wait = try await deployment.pool.withConnection { try failures.begin(on: $0) }
        if wait > .zero { try await Task.sleep(for: wait) }
        return try await deployment.pool.withConnection { connection in
            var problem: AssertionProblem?
            let (name, isRight) = try isRight(proof, for: clientID, of: organization, &problem, on: connection)
            let caller = Caller(
                actor: "client:\(name ?? clientID.text)", clientID: clientID, systemUserID: nil, role: .basicUser, address: address,
                requestID: requestID)
            let event = SecurityEvent(.signedIn, isRight ? .succeeded : .refused)
            guard !isRight else {
                try failures.succeed(on: connection)
                try event.insert(for: organization, by: caller, under: deployment.kek, on: connection)
                return true
            }
            try connection.transaction {
                try connection.execute("SAVEPOINT event")
                try event.insert(for: organization, by: caller, under: deployment.kek, on: connection)
                try connection.execute(name == nil ? "ROLLBACK TO SAVEPOINT event" : "RELEASE SAVEPOINT event")
                try failures.fail(on: connection)
            }
            if let problem { throw problem }
            return false
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
        // The attested list is read before the secrets. So a secret that is added between the two reads is not accepted yet, which
        // is safe.
        let state = try OrganizationState.read(organization.name, client: clientID, in: deployment, on: connection)
        let client = try state.client.flatMap { try state.mayAct($0, under: deployment.kek) ? $0 : nil }
        do {
            let isRight =
                switch proof {
                case .secret(let secret): try accepts(secret, of: clientID, in: state, on: connection)
                case .assertion(let assertion):
                    // The use of an assertion of a disabled client is not recorded, so it stays valid until the client is enabled.
                    try accepts(assertion, of: clientID, isRecorded: client != nil, in: state, on: connection)
                case .certificate(let certificate): try row(of: certificate, of: clientID, in: state, on: connection) != nil
                }
            return (client?.name, client != nil && isRight)
        } catch let error as AssertionProblem {
            problem = error
            return (client?.name, false)
        }
    }

    private func accepts(
        _ secret: String, of clientID: UUID, in state: OrganizationState, on connection: isolated PostgresConnection
    ) throws -> Bool {
        let rows = try connection.query(
            "SELECT secret_id, salt, verifier, expires_on, tag, now() FROM config.api_client_secret WHERE client_id = $1",
            [.uuid(clientID)])
        // For an id without secrets, a hash is computed too.
        var isRight = try rows.isEmpty && Self.verifier(of: secret, salt: randomBytes(count: 16)).isEmpty
        for row in rows {
            let (secretRow, tag) = try Self.secretRow(row, of: clientID)
            let isAuthentic = try state.grants.authenticates(secretRow.grant, tag: tag, under: deployment.kek)
            let isCurrent = try secretRow.expiresOn.map { try $0 > row.decode(5, as: PostgresMoment.self) } ?? true
            let matches = constantTimeEqual(secretRow.verifier, try Self.verifier(of: secret, salt: secretRow.salt))
            isRight = isRight || (isAuthentic && isCurrent && matches)
        }
        return isRight
    }

    /// Salted SHA-256. A secret of 32 random bytes needs no slow hash. Attackers could use a slow hash to overload the endpoint.
    static func verifier(of secret: String, salt: [UInt8]) throws -> [UInt8] {
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
            Grant(
                Self.name(id), [client.bytes, salt, verifier, Grant.field(expiresOn)], in: Self.all(of: client))
        }

        static func name(_ id: UUID) -> Grant.Name { Grant.Name(.clientSecret, [id.bytes]) }

        /// The group of all secrets of a client in the attested list.
        static func all(of client: UUID) -> Grant.Name { Grant.Name(.secrets, [client.bytes]) }
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
