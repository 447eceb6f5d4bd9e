import CMigrations
import Crypto
import Foundation
package import PostgresClient

/// One numbered file of plain SQL.
package struct Migration: Sendable, Equatable {
    /// The target of a migration.
    package enum Scope: String, Sendable {
        /// The deployment's own schemas, `config` and `cell`.
        case config
        /// Each organization's schema.
        case organization = "org"
    }

    package let scope: Scope
    /// The file's name without its extension, such as `0001_entities`. The order of the names is the order of application.
    package let name: String
    package let sql: String
    /// The SQL that undoes the migration; nil if undoing it would delete evidence or cells.
    package let down: String?
    /// SHA-256 of the file's bytes, as 64 hexadecimal digits.
    package let checksum: String

    /// Whether the program completes the migration after the SQL, in the same transaction.
    package var isCompletedByProgram: Bool {
        switch scope {
        case .config: name == "0009_attested_state"
        case .organization:
            ["0009_mail_destinations", "0017_what_sql_may"].contains(name) || name.hasSuffix("_application_ids")
                || name.hasSuffix("_mail_accounts") || name.hasSuffix("_mailbox_belonging")
        }
    }

    /// Whether the migration introduces the seals of the audit's entries. If it is undone, the program first records that the
    /// seals are gone.
    package var holdsSeals: Bool { scope == .organization && name.hasSuffix("_sealed_audit") }

    init(scope: Scope, name: String, sql: String, down: String?) {
        self.scope = scope
        self.name = name
        self.sql = sql
        self.down = down
        checksum = SHA256.hash(data: Data(sql.utf8)).map { String(format: "%02x", $0) }.joined()
    }
}

/// Completes a migration with data that SQL does not have, such as the key-encryption key. Returns
/// a line for each row or organization that was not attested, with the reason.
package typealias MigrationCompletion = @Sendable (Migration, MigrationTarget, isolated PostgresConnection) throws -> [String]
