import CellCrypto
import Foundation
import PostgresClient

/// What opening every cell found.
public struct VerificationReport: Sendable {
    /// A cell that does not open.
    public struct BadCell: Sendable {
        /// Such as `mailbox(6f0e…).password`.
        public let address: String
        public let cause: Cause
        /// The place that the cell was sealed for, where it was found.
        public var origin: String?
    }

    /// Why a cell does not open, as far as its bytes tell.
    public enum Cause: String, Sendable {
        case notACell = "not a cell"
        case otherKeyVersion = "sealed under another key version"
        case damagedOrMoved = "damaged, or moved here from another place"
    }

    public let organization: String
    public let keyVersion: Int
    public let cells: Int
    public let bad: [BadCell]
}

extension Session {
    /// Opens every cell of the organization and names the ones that do not open. Changes nothing.
    ///
    /// - Throws: ``FieldsealError/keyRequired`` when there is no key to open them with.
    public func verifyCells() async throws -> VerificationReport {
        try requireSystemAdministrator()
        guard let key = deployment.keyring.dataKey(of: state) else { throw FieldsealError.keyRequired }
        return try await deployment.pool.withConnection { connection in
            var cells = 0
            var bad: [(cell: VerificationReport.BadCell, content: [UInt8])] = []
            for entity in EntityCatalog.withCells {
                let found = try verify(entity, key, on: connection)
                cells += found.cells
                bad += found.bad
            }
            let origins = try origins(of: bad.prefix(Self.originLimit).map(\.content), key, on: connection)
            return VerificationReport(
                organization: organization.name, keyVersion: state.keyVersion, cells: cells,
                bad: zip(bad.map(\.cell), origins + Array(repeating: nil, count: bad.count - origins.count)).map { cell, origin in
                    var cell = cell
                    cell.origin = origin
                    return cell
                })
        }
    }

    private func verify(
        _ entity: EntityDefinition,
        _ key: DataKey,
        on connection: isolated PostgresConnection
    ) throws -> (cells: Int, bad: [(cell: VerificationReport.BadCell, content: [UInt8])]) {
        let cipher = try key.makeCipher()
        let names = entity.encryptedAttributes.map { entity.cellName($0.logicalName) }
        let columns = entity.encryptedAttributes.map { quoteIdentifier($0.logicalName) }.joined(separator: ", ")
        let leaf = organization.qualified("\(entity.cellTable)_k\(state.keyVersion)")
        var messages = CellCopy.Messages()
        var cells = 0
        var bad: [(cell: VerificationReport.BadCell, content: [UInt8])] = []
        try connection.copyOut(
            "COPY (SELECT \(entity.idColumn), \(columns) FROM \(leaf)) TO STDOUT (FORMAT binary)"
        ) { message in
            guard let row = try messages.row(in: message) else { return }
            var fields = CellCopy.Fields(row)
            guard try fields.rowLength() == names.count + 1 else { throw CellCopy.MalformedCopy() }
            let id = try fields.uuid()
            for name in names {
                guard let cell = try fields.field() else { continue }
                cells += 1
                let address = CellAddress(organization: organization.id, record: id, attribute: name)
                do {
                    try cipher.open(cell, at: address) { _ in }
                } catch is CellError {
                    let content = Array(cell)
                    bad.append((.init(address: address.description, cause: cause(content)), content))
                }
            }
        }
        return (cells, bad)
    }

    /// Cells whose origin is looked for: each is tried at every place there is.
    private static let originLimit = 20

    /// For each cell the place at which it opens, or nil for one that opens nowhere.
    private func origins(of cells: [[UInt8]], _ key: DataKey, on connection: isolated PostgresConnection) throws -> [String?] {
        var origins = [String?](repeating: nil, count: cells.count)
        guard !cells.isEmpty else { return origins }
        let cipher = try key.makeCipher()
        for entity in EntityCatalog.withCells {
            let names = entity.encryptedAttributes.map { entity.cellName($0.logicalName) }
            var messages = CellCopy.Messages()
            try connection.copyOut(
                "COPY (SELECT \(entity.idColumn) FROM \(organization.qualified(entity.logicalName))) TO STDOUT (FORMAT binary)"
            ) { message in
                guard let row = try messages.row(in: message) else { return }
                var fields = CellCopy.Fields(row)
                guard try fields.rowLength() == 1 else { throw CellCopy.MalformedCopy() }
                let id = try fields.uuid()
                for name in names {
                    let address = CellAddress(organization: organization.id, record: id, attribute: name)
                    for index in cells.indices where origins[index] == nil {
                        let opens = try cells[index].withUnsafeBytes { bytes in
                            do {
                                try cipher.open(bytes, at: address) { _ in }
                                return true
                            } catch is CellError {
                                return false
                            }
                        }
                        if opens { origins[index] = address.description }
                    }
                }
            }
        }
        return origins
    }

    private func cause(_ bytes: [UInt8]) -> VerificationReport.Cause {
        guard let cell = try? Cell(bytes) else { return .notACell }
        return Int(cell.keyVersion) == state.keyVersion ? .damagedOrMoved : .otherKeyVersion
    }
}
