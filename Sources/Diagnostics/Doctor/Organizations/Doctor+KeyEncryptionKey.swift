import CellCrypto
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports an organization that is still under a key-encryption key that was retired in this database.
    func retiredKeyEncryptionKey(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        let rows = try connection.query(
            """
            SELECT a.kek_id FROM config.attested_state AS a JOIN config.replaced_kek AS r USING (kek_id)
             WHERE a.organization_id = $1 AND r.retired_on IS NOT NULL
            """, [.uuid(organization.id)])
        return try rows.map { row in
            let id: String = try row.decode(0)
            return Finding(
                .error, "under-retired-kek", organization.name,
                "the row of its attested state is under the key-encryption key \(id), which was replaced and retired in this "
                    + "database: all of its requests are refused",
                advice:
                    "undo the retirement as a superuser (UPDATE config.replaced_kek SET retired_on = NULL WHERE kek_id = "
                    + "'\(id)'), name both keys in the settings, and run fieldseal kek rotate"
            )
        }
    }

    /// Reports if this program has the wrong key-encryption key. With a wrong key, no other check gives a true result.
    func wrongKeyEncryptionKey(on connection: isolated PostgresConnection) throws -> Finding? {
        let migrated = try connection.query(
            "SELECT to_regclass('config.organization_key') IS NOT NULL AND to_regclass('config.signing_key') IS NOT NULL")
        guard try migrated[0].decode(0) else { return nil }
        let ids = try connection.query(
            """
            SELECT kek_id FROM config.organization_key WHERE retired_on IS NULL AND purged_on IS NULL
            UNION SELECT kek_id FROM config.signing_key WHERE retired_on IS NULL ORDER BY 1
            """
        ).map { try $0.decode(0, as: String.self) }
        guard !ids.isEmpty, Set(ids).isDisjoint(with: deployment.kek.ids) else { return nil }
        // If this program's key opens the secrets nevertheless, SQL wrote these ids, and other findings name the rows.
        if try ids.allSatisfy({ try KeyEncryptionKeyEvidence.keyInForce(deployment.kek, besides: $0, on: connection) != nil }) {
            return nil
        }
        return Finding(
            .error, "wrong-key-encryption-key",
            "\(keyFiles.file.map { "\($0) is" } ?? "the settings name") the key-encryption key \(deployment.kek.id), and this deployment's keys are wrapped under \(ids.joined(separator: ", "))",
            advice:
                "name the right file in kekFile, or in kekFiles for a database with its own key; or restore the file from its "
                + "backup. Nothing else was checked"
        )
    }
}
