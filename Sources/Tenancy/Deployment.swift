public import CellCrypto
public import Foundation
import Migrations
public import PostgresClient

/// One PostgreSQL database and the key-encryption key that goes with it: all that the product works on.
public struct Deployment: Sendable {
    /// Connects as `fieldseal_service`.
    public let pool: ConnectionPool
    /// The same connection string, for work that needs connections of its own.
    public let conninfo: String
    public let kek: KeyEncryptionKey
    public let policy: KeyPolicy
    /// Whether suspended organizations are worked on: by the command line and the sweeps of a server, and not for its requests.
    private(set) var servesSuspended = true
    /// Which other databases there are; nil for the only one.
    var place: Place?
    package let keyring: Keyring
    let sessions = SessionCache()
    let seenStates = SeenStates()
    package let pendingEvents = PendingEventList()
    package let sweepMarks = SweepMarks()
    package let hashing: PasswordHashing
    /// Sign-ins with a password that are under way: each has a network for its key.
    package let signIns = AdmissionGate<String>(.init(running: 64, runningPerKey: 8))
    /// Connections that carry the short statements of many callers: lookups of records, and writes that need no look first.
    let readers: [SharedConnection]
    let writers: [SharedConnection]

    public init(
        conninfo: String,
        pool: ConnectionPool,
        kek: KeyEncryptionKey,
        policy: KeyPolicy = KeyPolicy(),
        sharedReaders: Int = 0,
        sharedWriters: Int = 0,
        statementLimit: Duration? = nil
    ) {
        readers = (0..<sharedReaders).map { _ in SharedConnection(.init(conninfo: conninfo, statementLimit: statementLimit)) }
        writers = (0..<sharedWriters).map { _ in SharedConnection(.init(conninfo: conninfo, statementLimit: statementLimit)) }
        self.conninfo = conninfo
        self.pool = pool
        self.kek = kek
        self.policy = policy
        keyring = Keyring(kek: kek)
        hashing = PasswordHashing(kek, policy.passwordDerivation)
    }

    /// The same deployment, for requests: suspended organizations are refused.
    public var refusingSuspended: Deployment {
        var copy = self
        copy.servesSuspended = false
        return copy
    }

    /// Closes its connections, once what is under way has ended.
    public func close() async {
        for connection in readers + writers { connection.close() }
        await pool.close()
    }

    /// Whether the deployment's own schemas are at the version that this program knows, or at a newer one that it can work with.
    public func isMigrated() async throws -> Bool { try await condition() != .notMigrated }

    /// Whether requests can be served.
    public enum Condition: Sendable {
        case ready
        case notMigrated
        /// The server does not write: it is a standby, or a setting says so.
        case readOnly
    }

    /// Asks the database whether it is migrated, and whether it writes.
    public func condition() async throws -> Condition {
        try await pool.withConnection { connection in
            let rows: PostgresResult
            do {
                rows = try connection.query(
                    """
                    SELECT m.name, current_setting('transaction_read_only') = 'on', c.name IS NOT NULL FROM config.migration AS m
                      LEFT JOIN config.compatible_migration AS c USING (name) WHERE m.scope = 'config'
                    """)
            } catch let error as PostgresError where error.sqlState == "42P01" {
                return .notMigrated
            }
            let known = Set(MigrationCatalog.migrations(.config).map(\.name))
            let applied = try rows.map { (name: try $0.decode(0, as: String.self), isCompatible: try $0.decode(2, as: Bool.self)) }
            guard known.isSubset(of: applied.map(\.name)), applied.allSatisfy({ known.contains($0.name) || $0.isCompatible }) else {
                return .notMigrated
            }
            return try rows.first?.decode(1, as: Bool.self) == true ? .readOnly : .ready
        }
    }
}

/// What a deployment demands of keys.
public struct KeyPolicy: Sendable {
    /// PBKDF2 iterations of a new key.
    public var iterations = DataKey.defaultIterations
    /// How new passwords of people are made into what is stored.
    public var passwordDerivation = PasswordVerifier.Derivation.scrypt
    /// Key changes that one organization may make within ``quotaInterval`` seconds; nil for any number.
    public var changeQuota: Int?
    /// Seconds.
    public var quotaInterval = 3_600
    /// How long a key change tries to lock writers out for its last moment, before it gives up.
    public var patience = Duration.seconds(60)
    /// Failures within ``failureInterval`` after which an account is locked for the network that they came from.
    public var failureLimit = 10
    /// Failures of all accounts together after which their network is locked.
    public var networkFailureLimit = 100
    /// Failures of an account from all networks together after which its sign-ins are slowed down. They never lock it: else
    /// strangers could lock others out.
    public var accountFailures = 20
    /// Seconds.
    public var failureInterval = 900

    public init() {}
}

/// An organization of the deployment.
public struct Organization: Sendable, Hashable {
    public let id: UUID
    public let name: String
    public let schema: String

    public init(id: UUID, name: String) {
        self.id = id
        self.name = name
        schema = Self.schema(of: name)
    }

    /// The schema of an organization: `org_` and the name, with `_` for `-`.
    package static func schema(of name: String) -> String { "org_\(name.replacing("-", with: "_"))" }

    /// Whether a name is `[a-z][a-z0-9-]{0,38}`.
    public static func isName(_ name: some StringProtocol) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first), bytes.count <= 39 else {
            return false
        }
        return bytes.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || $0 == UInt8(ascii: "-")
        }
    }

    /// A table or sequence of the organization, as SQL writes it.
    package func qualified(_ name: String) -> String { "\(quoteIdentifier(schema)).\(quoteIdentifier(name))" }
}
