package import CellCrypto
package import Foundation
import Migrations
package import PostgresClient

/// One PostgreSQL database with its key-encryption key, and the connections and caches for it.
package struct Deployment: Sendable {
    /// Connects as `fieldseal_service`.
    package let pool: ConnectionPool
    /// The connection string of ``pool``, for work with separate connections.
    package let conninfo: String
    package let kek: KeyEncryptionKey
    package let policy: KeyPolicy
    /// Whether suspended organizations are accessible. True for the command line and the sweeps of a server, false for a server's
    /// requests.
    private(set) var servesSuspended = true
    /// The databases of the deployment, and which of them this is; nil if the deployment has only one database.
    var place: Place?
    package let keyring: Keyring
    let sessions = SessionCache()
    let seenStates = SeenStates()
    package let stateRefusals = StateRefusals()
    package let pendingEvents = PendingEventList()
    package let sweepMarks = SweepMarks()
    package let hashing: PasswordHashing
    /// Limits how many sign-ins with a password run at once, in total and for each network.
    package let signIns = AdmissionGate<String>(.init(running: 64, runningPerKey: 8))
    /// Limits how many signed-in people confirm their password at once, in total and for each person. The limit is separate from
    /// that of sign-ins, so many sign-ins of strangers don't prevent people from confirming.
    package let confirmations = AdmissionGate<UUID>(.init(running: 16, runningPerKey: 4))
    /// Shared connections for short statements of many callers: lookups of records, and writes that need no earlier read.
    let readers: [SharedConnection]
    let writers: [SharedConnection]
    /// The standby that runs the queries of lists; nil if the primary runs them.
    package let standby: Standby?

    package init(
        conninfo: String,
        pool: ConnectionPool,
        kek: KeyEncryptionKey,
        policy: KeyPolicy = KeyPolicy(),
        sharedReaders: Int = 0,
        sharedWriters: Int = 0,
        standby: Standby? = nil,
        statementLimit: Duration? = nil
    ) {
        self.standby = standby
        readers = (0..<sharedReaders).map { _ in SharedConnection(.init(conninfo: conninfo, statementLimit: statementLimit)) }
        writers = (0..<sharedWriters).map { _ in SharedConnection(.init(conninfo: conninfo, statementLimit: statementLimit)) }
        self.conninfo = conninfo
        self.pool = pool
        self.kek = kek
        self.policy = policy
        keyring = Keyring(kek: kek)
        hashing = PasswordHashing(kek, policy.passwordDerivation)
    }

    /// This deployment as requests use it: it refuses suspended organizations.
    package var refusingSuspended: Deployment {
        var copy = self
        copy.servesSuspended = false
        return copy
    }

    /// Closes all connections after the running work has ended.
    package func close() async {
        for connection in readers + writers { connection.close() }
        await standby?.close()
        await pool.close()
    }

    /// Ends the statements of running requests. The requests get an error.
    package func endStatements() async {
        await standby?.closeAtOnce()
        await pool.closeAtOnce()
    }

    /// Whether the shared schemas are at this program's version, or at a newer compatible one.
    package func isMigrated() async throws -> Bool { try await condition() != .notMigrated }

    /// Whether requests can be served.
    package enum Condition: Sendable {
        case ready
        case notMigrated
        /// The database accepts no writes: it is a standby, or a setting forbids them.
        case readOnly
    }

    /// Queries whether the database is migrated, and whether it accepts writes.
    package func condition() async throws -> Condition {
        try await pool.withConnection { connection in
            let rows: PostgresResult
            do {
                rows = try connection.query(
                    """
                    SELECT m.name, current_setting('transaction_read_only') = 'on', c.name IS NOT NULL FROM config.migration AS m
                      LEFT JOIN config.compatible_migration AS c USING (name) WHERE m.scope = 'config'
                    """)
            } catch let error as PostgresError where error.state == .undefinedTable {
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
