import CMigrations
import Crypto
import Foundation
import PostgresClient

/// The migrations in this program.
package enum MigrationCatalog {
    /// All migrations, in the order of application.
    package static let all: [Migration] = files.compactMap { path, sql -> Migration? in
        let parts = path.split(separator: "/")
        guard parts.count == 2, !path.hasSuffix(".down.sql"), let scope = Migration.Scope(rawValue: String(parts[0])) else {
            return nil
        }
        let name = String(parts[1].dropLast(".sql".count))
        return Migration(scope: scope, name: name, sql: sql, down: files.first { $0.path == "\(parts[0])/\(name).down.sql" }?.sql)
    }
    .sorted { $0.name < $1.name }

    /// The SQL that a superuser applies once to a database.
    package static let bootstrap = files.first { $0.path == "bootstrap.sql" }?.sql ?? ""

    /// Functions that open cells in SQL. A deployment works without them.
    package static let recovery = files.first { $0.path == "recovery.sql" }?.sql ?? ""

    /// The migrations of one scope, in the order of application.
    package static func migrations(_ scope: Migration.Scope) -> [Migration] { all.filter { $0.scope == scope } }

    /// Every file under `migrations/` in this program: its path there and its text.
    package static let files: [(path: String, sql: String)] = {
        var count = 0
        let first = embedded_migrations(&count)
        return UnsafeBufferPointer(start: first, count: count).map { file in
            (
                String(cString: file.name),
                String(decoding: UnsafeBufferPointer(start: file.bytes, count: file.length), as: UTF8.self)
            )
        }
    }()
}
