import CellCrypto
import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

/// A lock per organization, across all servers of the deployment. It allows one key change or activation at a time.
package enum KeySetLock {
    /// Takes the lock for the open transaction, without waiting.
    ///
    /// - Throws: ``FieldsealError`` `.setIsAlreadyRunning` (HTTP 429) when another key change or activation is running.
    package static func take(_ organization: Organization, on connection: isolated PostgresConnection) throws {
        let id = organization.id.bytes.withUnsafeBytes { $0.loadUnaligned(as: Int64.self) }
        guard try connection.query("SELECT pg_try_advisory_xact_lock($1)", [.int64(id)])[0].decode(0) else {
            throw FieldsealError(
                .setIsAlreadyRunning,
                "The organization's key is being set already, by this or another server. Wait until that has ended.",
                retryAfter: 5)
        }
    }
}
