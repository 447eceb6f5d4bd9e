import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

extension Session {
    /// Throws an error that names the rights that the caller lacks, if the caller may read the record. Returns otherwise: a record
    /// that the caller can't read is reported as nonexistent.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied`.
    func refuseReadable(
        _ entity: EntityDefinition, _ id: UUID, without needed: AccessRights, on connection: isolated PostgresConnection
    ) throws {
        let rights = try ownRights(of: caller, on: entity, id, on: connection)
        let missing = needed.subtracting(rights)
        guard rights.contains(.read), !missing.isEmpty else { return }
        throw FieldsealError(
            .privilegeDenied,
            "The caller may read the \(entity.logicalName) \(id.text), but has no \(missing.names) to it. Its owner can grant "
                + "this right: GrantAccess.")
    }
}
