import CellCrypto
import Foundation
import Model
import PostgresClient
import Synchronization
import Tenancy

extension KeyAdministration {
    /// Opens every cell of the organization and lists those that do not open. Changes nothing. Reads in one snapshot, so it sees
    /// a single key version even if the key is changed meanwhile.
    ///
    /// - Parameter onProgress: Called about four times a second with the number of cells so far and the estimated total.
    /// - Throws: ``FieldsealError/keyRequired`` when the organization's key is missing.
    package func verifyCells(
        onProgress: (@Sendable (_ cells: Int, _ total: Int?) -> Void)? = nil
    ) async throws -> VerificationReport {
        return try await deployment.pool.withConnection { connection in
            try connection.transaction(isolation: .repeatableRead) {
                let state = try OrganizationState.read(organization.name, in: deployment, on: connection)
                let key = try deployment.keyring.requiredKey(of: state)
                let progress = VerificationProgress(total: try estimate(state, on: connection), onProgress)
                var cells = 0
                var bad: [CellVerifier.Bad] = []
                for entity in EntityCatalog.withCells {
                    let found = try verify(entity, state, key, progress, on: connection)
                    cells += found.cells
                    bad += found.bad
                }
                let origins = try origins(of: bad.prefix(Self.originLimit).map(\.content), key, on: connection)
                return VerificationReport(
                    organization: organization.name, keyVersion: state.keyVersion, cells: cells,
                    bad: zip(bad.map(\.cell), origins + Array(repeating: nil, count: bad.count - origins.count)).map {
                        cell, origin in
                        var cell = cell
                        cell.origin = origin
                        return cell
                    }, mismatches: try FlagMismatch.all(in: state, on: connection))
            }
        }
    }

    /// Reads the cells on the connection's thread. Other threads open them meanwhile.
    private func verify(
        _ entity: EntityDefinition,
        _ state: OrganizationState,
        _ key: DataKey,
        _ progress: VerificationProgress,
        on connection: isolated PostgresConnection
    ) throws -> (cells: Int, bad: [CellVerifier.Bad]) {
        let rows = CellRows(of: entity, in: organization, keyVersion: state.keyVersion)
        let verifier = CellVerifier(
            entity, organization: organization.id, keyVersion: state.keyVersion, key: key, onCells: progress.add)
        verifier.start()
        let reading = Result<Void, any Error> {
            try connection.copyChunks(of: rows.source, length: CellVerifier.chunkLength, verifier.add)
        }
        return try verifier.finish(reading)
    }

    /// The number of cells by PostgreSQL's statistics; nil when it has none.
    private func estimate(_ state: OrganizationState, on connection: isolated PostgresConnection) throws -> Int? {
        let leaves = EntityCatalog.withCells.map { organization.qualified("\($0.cellTable)_k\(state.keyVersion)") }
        let rows = try connection.query(
            "SELECT sum(reltuples)::int8 FROM pg_class WHERE oid = ANY ($1::text[]::regclass[]) AND reltuples > 0", [.texts(leaves)]
        )
        return try rows[0].decodeIfPresent(0)
    }

    /// How many cells that don't open are tried at every place, to find where they came from.
    private static let originLimit = 20

    /// For each cell, the record and attribute at which it opens; nil for a cell that opens nowhere.
    private func origins(of cells: [[UInt8]], _ key: DataKey, on connection: isolated PostgresConnection) throws -> [String?] {
        var origins = [String?](repeating: nil, count: cells.count)
        guard !cells.isEmpty else { return origins }
        let cipher = try key.makeCipher()
        for entity in EntityCatalog.withCells {
            let names = entity.encryptedAttributes.map { entity.cellName($0.logicalName) }
            try connection.copyRows(
                of: "(SELECT \(entity.idColumn) FROM \(organization.qualified(entity.logicalName)))"
            ) { row in
                var fields = BinaryCopyFields(row)
                try fields.begin(fields: 1)
                let id = try fields.uuid()
                for name in names {
                    let address = CellAddress(organization: organization.id, record: id, attribute: name)
                    for index in cells.indices where origins[index] == nil {
                        if try opens(cells[index], at: address, with: cipher) { origins[index] = address.description }
                    }
                }
            }
        }
        return origins
    }

    private func opens(_ cell: [UInt8], at address: CellAddress, with cipher: CellCipher) throws -> Bool {
        do {
            try cell.withUnsafeBytes { try cipher.open($0, at: address) { _ in } }
            return true
        } catch is CellError {
            return false
        }
    }
}

/// Counts cells, and reports the number four times a second.
private final class VerificationProgress: Sendable {
    private let total: Int?
    private let onProgress: (@Sendable (Int, Int?) -> Void)?
    private let state = Mutex((cells: 0, next: ContinuousClock.now))

    init(total: Int?, _ onProgress: (@Sendable (Int, Int?) -> Void)?) {
        self.total = total
        self.onProgress = onProgress
    }

    func add(_ cells: Int) {
        guard let onProgress else { return }
        let due = state.withLock { state -> Int? in
            state.cells += cells
            guard state.next <= .now else { return nil }
            state.next = .now + .milliseconds(250)
            return state.cells
        }
        if let due { onProgress(due, total) }
    }
}
