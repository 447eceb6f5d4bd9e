package import CellCrypto
package import Foundation
package import Model
package import PostgresClient

/// One caller in one organization.
///
/// Operations of callers are methods of `Session`, in extensions in the module of each subject. Each method checks the caller's
/// role first. Operations of a single role can be in a type that is made from a session, such as `MailboxLeases`.
package struct Session: Sendable {
    package let organization: Organization
    package let caller: Caller
    package let deployment: Deployment
    private let kept: KeptState
    /// A statement that fails if the reused state is stale. ``run(_:on:)`` sends this check before the given statements. Nil if
    /// this session read the state itself.
    package let check: SharedStatement?

    package init(
        organization: Organization, caller: Caller, deployment: Deployment, state: OrganizationState, check: SharedStatement?
    ) {
        self.init(caller, in: organization, deployment, KeptState(state), check)
    }

    private init(
        _ caller: Caller, in organization: Organization, _ deployment: Deployment, _ kept: KeptState, _ check: SharedStatement?
    ) {
        self.organization = organization
        self.caller = caller
        self.deployment = deployment
        self.kept = kept
        self.check = check
    }

    /// The state at the start of the session. Code that needs the current key reads the state again if the key was changed
    /// meanwhile.
    package var state: OrganizationState { kept.state }

    /// The organization's key-encryption key. This key seals and tags what the session writes.
    package var kek: KeyEncryptionKey { state.attested.flatMap { deployment.kek.member($0.kekID) } ?? deployment.kek }

    /// Begins a session for an API client whose token was verified.
    ///
    /// - Throws: ``FieldsealError`` `.noResource` for an unknown organization; `.accessDenied` when the client is disabled, or this
    ///   service did not write its row.
    ///
    /// - Parameters:
    ///   - assuming: Whether to reuse the state that an earlier session of the client read. Then only reads and writes of records
    ///     are allowed. Reads and writes throw ``StaleSession`` if the state is stale.
    ///   - signedInOn: The time at which the client authenticated for its token.
    package static func begin(
        _ deployment: Deployment,
        organization name: String,
        client: UUID,
        address: String?,
        requestID: String,
        assuming: Bool = false,
        signedInOn: Date? = nil
    ) async throws -> Session {
        let cached = assuming ? deployment.sessions.entry(of: client, in: name) : nil
        let known = cached.flatMap { deployment.isNewest($0.kept.state) ? $0 : nil }
        let kept: KeptState
        if let known {
            kept = known.kept
        } else {
            kept = KeptState(try await read(name, client: client, in: deployment))
        }
        guard let row = kept.state.client, let role = Role(rawValue: row.role),
            try known != nil || kept.state.mayAct(row, under: deployment.kek)
        else { throw FieldsealError.mayNotAct }
        var caller = Caller(
            actor: "client:\(row.name)", clientID: client, systemUserID: row.systemUserID, role: role,
            granted: kept.state.grantedRoles, address: address, requestID: requestID)
        caller.signedInOn = signedInOn
        if known == nil {
            if deployment.keyring.dataKey(of: kept.state) != nil {
                deployment.sessions.keep(kept, of: client)
            } else {
                deployment.sessions.forget(client, in: name)
            }
        }
        return Session(caller, in: kept.state.organization, deployment, kept, known?.check)
    }

    /// Begins a session of the same client and request, which reads the organization's state anew.
    ///
    /// - Throws: ``StaleSession`` for a session that is not of an API client, or that acts for another user; the errors of `begin`.
    package func renewed() async throws -> Session {
        guard let client = caller.clientID, let request = caller.requestID, caller.impersonation == nil else {
            throw StaleSession()
        }
        return try await Session.begin(
            deployment, organization: organization.name, client: client, address: caller.address, requestID: request,
            signedInOn: caller.signedInOn)
    }

    /// Begins a session for the command line.
    ///
    /// - Parameter isInspection: Whether the session only reads. Such a session begins even if the organization's attested state
    ///   does not verify. A session with such a state has no key, and appends no event.
    package static func begin(
        _ deployment: Deployment, organization name: String, caller: Caller, isInspection: Bool = false
    ) async throws -> Session {
        let state = try await read(name, in: deployment, isInspection: isInspection)
        return Session(
            organization: state.organization, caller: caller, deployment: deployment, state: state, check: nil)
    }

    /// Reads an organization's state outside of any transaction, and remembers it as seen.
    private static func read(
        _ name: String, client: UUID? = nil, in deployment: Deployment, isInspection: Bool = false
    ) async throws -> OrganizationState {
        try deployment.requirePlace(of: name)
        let state = try await deployment.pool.withConnection {
            try OrganizationState.read(name, client: client, in: deployment, isInspection: isInspection, on: $0)
        }
        deployment.remember(state)
        return state
    }

    /// The organization of that name.
    ///
    /// - Throws: ``FieldsealError`` `.noResource` when there is none.
    package static func organization(named name: String, in deployment: Deployment) async throws -> Organization {
        try await read(name, in: deployment).organization
    }

    /// Throws if the caller is not a System Administrator.
    ///
    /// - Parameter purpose: The operation as a verb phrase, such as `read the audit`. The error message names it.
    package func requireSystemAdministrator(to purpose: String) throws {
        guard caller.role == .systemAdministrator else {
            throw FieldsealError(
                .privilegeDenied, "Only a System Administrator may \(purpose), and the caller's role is \(caller.role.rawValue).")
        }
        try requireOwnName("What is reserved to System Administrators")
    }

    /// The key in force, for sealing.
    package struct CurrentKey: Sendable {
        package let version: Int
        package let key: DataKey

        package init(version: Int, key: DataKey) {
            self.version = version
            self.key = key
        }

        /// Encrypts a value into a cell that is bound to this record and attribute.
        package func seal(
            _ text: String, _ entity: EntityDefinition, _ attribute: String, _ record: UUID, _ organization: Organization
        )
            throws -> [UInt8]
        {
            try key.seal(
                text,
                at: CellAddress(organization: organization.id, record: record, attribute: entity.cellName(attribute)),
                keyVersion: UInt32(version)
            ).bytes
        }
    }

    /// Runs a write that needs the current key. Runs the write again if the key was changed meanwhile.
    ///
    /// - Throws: ``FieldsealError/keyRequired`` when `config` has no key that opens the key check.
    package func withCurrentKey<Result: Sendable>(
        _ body: (CurrentKey) async throws -> Result
    ) async throws -> Result {
        var state = state
        for _ in 0..<Self.sealAttempts {
            let key = try deployment.keyring.requiredKey(of: state)
            do {
                return try await body(CurrentKey(version: state.keyVersion, key: key))
            } catch let error as PostgresError where error.isStaleKey {
                let name = organization.name
                // Later sessions must not reuse the old key either.
                if let client = caller.clientID { deployment.sessions.forget(client, in: name) }
                state = try await Self.read(name, in: deployment)
            }
        }
        throw FieldsealError(
            .encryption, "The organization's key changed \(Self.sealAttempts) times while this value was sealed. Try again.",
            retryAfter: 1)
    }

    /// How many attempts are made. Each attempt fails only if another key change was committed meanwhile.
    private static let sealAttempts = 16
}

extension PostgresError {
    /// Whether a cell was refused because its key version is not the current version. Either the generation is retired, the
    /// partition's CHECK does not match, or the generation was dropped and no partition accepts the row.
    package var isStaleKey: Bool {
        state == .keyVersionRefused
            || state == .checkViolation && (constraint == nil || constraint?.hasSuffix("has_key_version") == true)
    }
}
