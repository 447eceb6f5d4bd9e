import CellCrypto
import Foundation
import KeyManagement
import Model
import PostgresClient
import Tenancy

// Encrypts the passwords, and refuses values that would change or that the service would refuse.
extension PlaintextUpgrade {
    /// Encrypts every value under a generated key, into a first generation.
    func seal(
        _ columns: [String: [String]],
        _ organization: Organization,
        on connection: isolated PostgresConnection
    ) throws -> (cells: Int, PlaintextScan, key: Grant) {
        let key = try NewKey(OrganizationKeyText.generate(), of: organization, version: 1, policy: registry.policy)
        let cipher = try key.data.makeCipher()
        var scan = PlaintextScan()
        var cells = 0
        _ = try connection.query("SELECT \(organization.qualified("create_generation"))(1)")
        for entity in EntityCatalog.withCells {
            guard let attributes = columns[entity.logicalName] else { continue }
            try requireShort(entity, attributes, on: connection)
            cells += try seal(entity, attributes, organization, with: cipher, &scan, on: connection)
        }
        _ = try connection.query("SELECT \(organization.qualified("finish_generation"))(1)")
        let grant = try key.establish(under: registry.kek, by: caller, on: connection)
        return (cells, scan, grant)
    }

    /// - Returns: The number of cells.
    private func seal(
        _ entity: EntityDefinition,
        _ attributes: [String],
        _ organization: Organization,
        with cipher: CellCipher,
        _ scan: inout PlaintextScan,
        on connection: isolated PostgresConnection
    ) throws -> Int {
        let target = CellRows(of: entity, attributes, in: organization, keyVersion: 1)
        let names = attributes.map(quoteIdentifier)
        var cells = 0
        // Each entity's cursor has its own name. With a common name, the prepared FETCH of one cursor would not fit the next.
        let cursor = "\(entity.logicalName)_plaintext"
        try connection.execute(
            """
            DECLARE \(cursor) NO SCROLL CURSOR FOR
            SELECT \(entity.idColumn)::uuid, \(names.map { "nullif(\($0)::text, '')" }.joined(separator: ", "))
              FROM \(quoteIdentifier(old)).\(quoteIdentifier(entity.logicalName))
             WHERE \(names.map { "coalesce(\($0), '') <> ''" }.joined(separator: " OR "))
            """)
        while true {
            let rows = try connection.query("FETCH \(Self.batch) FROM \(cursor)")
            if rows.isEmpty { break }
            var output = BinaryCopyRows()
            for row in rows {
                let id: UUID = try row.decode(0)
                let sealed = try attributes.enumerated().map { index, attribute in
                    let address = CellAddress(organization: organization.id, record: id, attribute: entity.cellName(attribute))
                    return try seal(row, index + 1, at: address, with: cipher, &scan)
                }
                cells += sealed.count(where: { $0 != nil })
                target.append(sealed, of: id, to: &output)
            }
            try connection.copy(output, into: target.target)
        }
        try connection.execute("CLOSE \(cursor)")
        return cells
    }

    /// The cell for a row's value; nil if the value is NULL.
    private func seal(
        _ row: PostgresRow, _ index: Int, at address: CellAddress, with cipher: CellCipher, _ scan: inout PlaintextScan
    ) throws -> [UInt8]? {
        guard !row.isNull(index) else { return nil }
        return try row.withBytes(index) { plaintext in
            scan.add(Array(plaintext))
            return try cipher.seal(plaintext, at: address, keyVersion: 1).bytes
        }
    }

    /// Refuses values that are longer than their attribute. The service would refuse them, so such a password could not be set
    /// again.
    private func requireShort(
        _ entity: EntityDefinition,
        _ attributes: [String],
        on connection: isolated PostgresConnection
    ) throws {
        for attribute in entity.encryptedAttributes where attributes.contains(attribute.logicalName) {
            guard case .string(let limit) = attribute.type else { continue }
            let name = quoteIdentifier(attribute.logicalName)
            // Characters are counted in UTF-16 units. Characters beyond the Basic Multilingual Plane, which have four bytes in
            // UTF-8, count twice.
            let long = try connection.query(
                """
                SELECT \(entity.idColumn)::text, count(*) OVER () FROM \(quoteIdentifier(old)).\(quoteIdentifier(entity.logicalName))
                 WHERE char_length(\(name)::text) + char_length(regexp_replace(\(name)::text, '[^\\U00010000-\\U0010FFFF]', '', 'g')) > $1
                 LIMIT 5
                """, [.int32(Int32(limit))])
            guard let first = long.first else { continue }
            let ids = try long.map { try $0.decode(0, as: String.self) }.joined(separator: ", ")
            throw FieldsealError(
                .stringLengthTooLong,
                "\(try first.decode(1, as: Int.self)) values of \(entity.cellName(attribute.logicalName)) have more than \(limit) characters, "
                    + "which the attribute does not take; the records are \(ids). Nothing was changed. Shorten them, and try again."
            )
        }
    }

    /// Refuses numbers that the new column's type would round.
    func requireExact(
        _ table: String,
        _ column: String,
        _ old: String,
        _ new: String,
        on connection: isolated PostgresConnection
    ) throws {
        let numbers = ["smallint", "integer", "bigint", "real", "double precision", "numeric"]
        guard old != new, numbers.contains(where: old.hasPrefix), numbers.contains(where: new.hasPrefix) else { return }
        let name = quoteIdentifier(column)
        let rounded: Int = try connection.query(
            "SELECT count(*) FROM \(quoteIdentifier(self.old)).\(quoteIdentifier(table)) WHERE \(name)::numeric::\(new) <> \(name)::numeric"
        )[0]
        .decode(0)
        guard rounded == 0 else {
            throw FieldsealError(
                .invalidArgument,
                "\(rounded) values of \(table).\(column) would be rounded, from \(old) to \(new). Nothing was changed. "
                    + "Round them yourself, and try again.")
        }
    }
}
