import CellCrypto
public import Foundation
import PostgresClient

/// API clients: programs that get tokens with a secret, each acting as one systemuser in one role.
///
/// What a row grants is tagged under the key-encryption key: one that was inserted or changed by SQL is not honoured.
public struct ClientRegistry: Sendable {
    private let deployment: Deployment

    public init(_ deployment: Deployment) {
        self.deployment = deployment
    }

    /// A client as `client list` shows it.
    public struct Entry: Sendable {
        public let id: UUID
        public let name: String
        public let role: String
        public let systemUserID: UUID
        public let createdOn: Date
        public let disabledOn: Date?
        /// Whether the row's tag is valid.
        public let isHonoured: Bool
    }

    /// Adds a client and the systemuser that it acts as.
    ///
    /// - Returns: The id and the secret, which is shown once and stored nowhere: 32 random bytes in base64url.
    /// - Throws: ``FieldsealError`` when the name is taken.
    func add(
        name: String,
        role: Role,
        to organization: Organization,
        by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws -> (id: UUID, secret: String) {
        guard (1...100).contains(name.count) else {
            throw FieldsealError(.invalidArgument, "A client's name has 1 to 100 characters.")
        }
        let id = UUID.timeOrdered()
        let secret = Data(try randomBytes(count: 32)).base64URL
        let userID = UUID.timeOrdered()
        let user = try RecordDraft.systemUser(
            id: userID, name: "# \(name)", domainName: "client\\\(name)", in: organization, on: connection)
        try user.insert(into: organization, on: connection)
        do {
            _ = try connection.query(
                """
                INSERT INTO config.api_client (client_id, organization_id, name, systemuser_id, role, tag, created_by)
                VALUES ($1, $2, $3, $4, $5, $6, $7)
                """,
                [
                    .uuid(id), .uuid(organization.id), .text(name), .uuid(userID), .text(role.rawValue),
                    .bytes(try clientTag(id, organization.id, userID, role.rawValue)), .text(caller.actor),
                ]
            )
        } catch let error as PostgresError where error.sqlState == "23505" {
            throw FieldsealError(.duplicateRecord, "There is a client named \(name) already. Disable it, or take another name.")
        }
        try addSecret(secret, to: id, on: connection)
        try SecurityEvent(.clientAdded, .succeeded, details: "\(name), \(role.rawValue)")
            .insert(for: organization, by: caller, under: deployment.kek, on: connection)
        return (id, secret)
    }

    private func addSecret(_ secret: String, to client: UUID, on connection: isolated PostgresConnection) throws {
        let id = UUID.timeOrdered()
        let salt = try randomBytes(count: 16)
        let verifier = try Self.verifier(of: secret, salt: salt)
        _ = try connection.query(
            "INSERT INTO config.api_client_secret (secret_id, client_id, salt, verifier, tag) VALUES ($1, $2, $3, $4, $5)",
            [
                .uuid(id), .uuid(client), .bytes(salt), .bytes(verifier),
                .bytes(try secretTag(id, client, salt, verifier)),
            ]
        )
    }

    /// The clients of an organization, by name.
    func list(_ organization: Organization, on connection: isolated PostgresConnection) throws -> [Entry] {
        try connection.query(
            """
            SELECT client_id, name, role, systemuser_id, created_on, disabled_on, tag FROM config.api_client
            WHERE organization_id = $1 ORDER BY name
            """,
            [.uuid(organization.id)]
        )
        .map { row in
            let (id, role, user): (UUID, String, UUID) = (try row.decode(0), try row.decode(2), try row.decode(3))
            let tag = try row.decode(6, as: PostgresBytes.self).bytes
            return Entry(
                id: id,
                name: try row.decode(1),
                role: role,
                systemUserID: user,
                createdOn: try row.decode(4),
                disabledOn: try row.decodeIfPresent(5),
                isHonoured: constantTimeEqual(tag, try clientTag(id, organization.id, user, role))
            )
        }
    }

    /// Disables a client: its tokens are refused from now on.
    ///
    /// - Throws: ``FieldsealError`` when there is none of that name or id.
    func disable(
        _ nameOrID: String,
        of organization: Organization,
        by caller: Caller,
        on connection: isolated PostgresConnection
    ) throws {
        let result = try connection.query(
            """
            UPDATE config.api_client SET disabled_on = coalesce(disabled_on, now())
            WHERE organization_id = $1 AND (name = $2 OR client_id::text = lower($2))
            """,
            [.uuid(organization.id), .text(nameOrID)]
        )
        guard result.affectedRows == 1 else {
            throw FieldsealError(
                .objectDoesNotExist, "\(organization.name) has no client \(nameOrID); see `fieldseal client list`.")
        }
        try SecurityEvent(.clientDisabled, .succeeded, details: nameOrID).insert(
            for: organization, by: caller, under: deployment.kek, on: connection)
    }

    /// Whether `secret` is one of the client's valid secrets, and the client is enabled and honoured.
    ///
    /// - Throws: 429 once there were too many failures for this client from this address.
    public func verify(
        clientID: UUID,
        secret: String,
        of organization: Organization,
        address: String,
        requestID: String?
    ) async throws -> Bool {
        let failures = FailedSignIns(account: "client:\(clientID)", address: address, policy: deployment.policy)
        try await failures.slowDown(deployment.pool)
        return try await deployment.pool.withConnection { connection in
            try failures.check(on: connection)
            let (name, isRight) = try isRight(secret, for: clientID, of: organization, on: connection)
            if !isRight { try failures.count(on: connection) }
            if let name {
                let caller = Caller(
                    actor: "client:\(name)", clientID: clientID, systemUserID: nil, role: .basicUser, address: address,
                    requestID: requestID)
                try SecurityEvent(.signedIn, isRight ? .succeeded : .refused)
                    .insert(for: organization, by: caller, under: deployment.kek, on: connection)
            }
            return isRight
        }
    }

    /// - Returns: The client's name, if there is such a client that is enabled; and whether the secret is one of its.
    private func isRight(
        _ secret: String,
        for clientID: UUID,
        of organization: Organization,
        on connection: isolated PostgresConnection
    ) throws -> (name: String?, isRight: Bool) {
        let rows = try connection.query(
            """
            SELECT c.systemuser_id, c.role, c.tag, s.secret_id, s.salt, s.verifier, s.tag, c.name
              FROM config.api_client AS c JOIN config.api_client_secret AS s USING (client_id)
             WHERE c.client_id = $1 AND c.organization_id = $2 AND c.disabled_on IS NULL
               AND (s.expires_on IS NULL OR s.expires_on > now())
            """,
            [.uuid(clientID), .uuid(organization.id)]
        )
        var isRight = false
        for row in rows {
            func bytes(_ column: Int) throws -> [UInt8] { try row.decode(column, as: PostgresBytes.self).bytes }
            let honoured = constantTimeEqual(
                try bytes(2), try clientTag(clientID, organization.id, try row.decode(0), try row.decode(1)))
            let salt = try bytes(4)
            let verifier = try bytes(5)
            let genuine = constantTimeEqual(try bytes(6), try secretTag(try row.decode(3), clientID, salt, verifier))
            let matches = constantTimeEqual(verifier, try Self.verifier(of: secret, salt: salt))
            isRight = isRight || (honoured && genuine && matches)
        }
        return (try rows.first?.decode(7), isRight)
    }

    /// Salted SHA-256: a secret of 32 random bytes needs no slow hash, which would only let strangers load the endpoint.
    private static func verifier(of secret: String, salt: [UInt8]) throws -> [UInt8] {
        try sha256(salt + Array(secret.utf8))
    }

    func clientTag(_ client: UUID, _ organization: UUID, _ user: UUID, _ role: String) throws -> [UInt8] {
        try deployment.kek.tag(label: "api_client", over: [client.bytes, organization.bytes, user.bytes, Array(role.utf8)])
    }

    private func secretTag(_ id: UUID, _ client: UUID, _ salt: [UInt8], _ verifier: [UInt8]) throws -> [UInt8] {
        try deployment.kek.tag(label: "api_client_secret", over: [id.bytes, client.bytes, salt, verifier])
    }
}
