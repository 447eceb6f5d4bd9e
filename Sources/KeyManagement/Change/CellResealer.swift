import CellCrypto
package import Foundation
package import Model
import PostgresClient

/// Decrypts cells of one entity under the old key and encrypts them under the new one. Only one thread at a time may use it.
package final class CellResealer {
    private let entity: EntityDefinition
    private let organization: UUID
    private let origin: UUID
    private let keys: KeyPair
    private let opener: CellCipher
    private let sealer: CellCipher
    private let names: [String]
    private let toleratesUnreadable: Bool
    /// How many cells were encrypted again.
    private(set) var cells = 0
    /// How many rows were written.
    private(set) var rows = 0
    private(set) var unreadable: [UnreadableCell] = []
    /// Even a key change that tolerates unreadable cells stops beyond this number, because so many unreadable cells suggest another
    /// cause, such as the wrong key.
    private static let unreadableLimit = 100_000

    /// - Parameter origin: For a clone, the organization for which the cells were sealed; nil if it is `organization`.
    package init(_ entity: EntityDefinition, organization: UUID, origin: UUID? = nil, keys: KeyPair, toleratesUnreadable: Bool)
        throws
    {
        self.entity = entity
        self.organization = organization
        self.origin = origin ?? organization
        self.keys = keys
        self.toleratesUnreadable = toleratesUnreadable
        opener = try keys.old.makeCipher()
        sealer = try keys.new.makeCipher()
        names = entity.encryptedAttributes.map { entity.cellName($0.logicalName) }
    }

    /// Converts rows of `id, cell, …` to rows of `key version, id, cell, …`, both in COPY's format. Rows are left out if all of
    /// their cells are NULL or unreadable.
    func reseal(_ rows: UnsafeRawBufferPointer, into output: inout BinaryCopyRows) throws {
        var fields = BinaryCopyFields(rows)
        while !fields.isAtEnd {
            try fields.begin(fields: names.count + 1)
            let id = try fields.uuid()
            let start = output.bytes.count
            output.begin(cells: names.count, of: id, keyVersion: Int32(keys.newVersion))
            let before = cells
            for index in names.indices {
                let cell = try fields.field()
                try output.append { bytes in
                    guard let cell else { return false }
                    return try reseal(cell, id, index, appendingTo: &bytes)
                }
            }
            if cells == before { output.truncate(to: start) } else { self.rows += 1 }
        }
    }

    /// Encrypts the cells of one record again; nil for each attribute without a cell.
    package func reseal(_ old: [[UInt8]?], id: UUID) throws -> [[UInt8]?] {
        try old.enumerated().map { index, cell in
            guard let cell else { return nil }
            var output: [UInt8] = []
            return try cell.withUnsafeBytes { try reseal($0, id, index, appendingTo: &output) } ? output : nil
        }
    }

    /// - Returns: False if the cell does not open and unreadable cells are tolerated. Then nothing was appended.
    private func reseal(
        _ cell: UnsafeRawBufferPointer,
        _ id: UUID,
        _ index: Int,
        appendingTo output: inout [UInt8]
    ) throws -> Bool {
        let address = CellAddress(organization: origin, record: id, attribute: names[index])
        do {
            try opener.open(cell, at: address) { plaintext in
                let target =
                    origin == organization
                    ? address : CellAddress(organization: organization, record: id, attribute: names[index])
                try sealer.seal(plaintext, at: target, keyVersion: UInt32(keys.newVersion), appendingTo: &output)
            }
        } catch is CellError {
            guard toleratesUnreadable, unreadable.count < Self.unreadableLimit else {
                throw FieldsealError(
                    .cannotDecryptExistingData,
                    "The cell of \(address) does not open, so the key was not changed. `fieldseal verify` names every such cell.")
            }
            unreadable.append(
                UnreadableCell(
                    address: address, entity: entity.logicalName, attribute: entity.encryptedAttributes[index].logicalName,
                    content: Array(cell)))
            return false
        }
        cells += 1
        return true
    }
}
