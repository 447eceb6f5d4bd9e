public import Foundation
import PostgresClient

/// One write of a record, with a client's own values.
public enum RecordWrite: Sendable {
    /// Creates a record, under the id that is given, or that the members name, or a new one.
    case create(EntityDefinition, id: UUID? = nil, [JSONValue.Member])
    /// Updates a record, or creates it under that key where the condition allows.
    case upsert(EntityDefinition, RecordKey, [JSONValue.Member], WriteCondition = .none)
    /// Deletes a record and its cells.
    case delete(EntityDefinition, RecordKey, WriteCondition = .mustExist)
}

extension Session {
    /// Does one write.
    ///
    /// - Throws: ``FieldsealError``: `.objectDoesNotExist`, `.concurrencyVersionMismatch`, `.duplicateRecord`,
    ///   `.privilegeDenied`, `.keyRequired`, and whatever the metadata refuses.
    @discardableResult
    public func write(_ write: RecordWrite) async throws -> WriteOutcome { try await self.write([write])[0] }

    /// Does several writes in one transaction: all of them or none.
    ///
    /// - Throws: ``FieldsealError`` of the first write that can't be done.
    public func write(_ writes: [RecordWrite]) async throws -> [WriteOutcome] {
        let prepared = try writes.map { try PreparedWrite($0, for: self) }
        guard !prepared.isEmpty else { return [] }
        var attempt = 1
        while true {
            do {
                guard prepared.contains(where: \.needsKey) else { return try await run(prepared, nil) }
                return try await withCurrentKey { try await run(prepared, $0) }
            } catch let refusal as DestinationChanges.Refusal {
                try await record(SecurityEvent(.mailDestinationChanged, .refused, details: refusal.details))
                throw refusal.error
            } catch let error as PostgresError where error.sqlState == "23505" && attempt < Self.upsertAttempts {
                // Somebody else created a record in between that an upsert was to create: then it is an update after all.
                attempt += 1
            } catch let error as PostgresError where error.sqlState == "23505" {
                throw FieldsealError(.duplicateRecord, "There is a record with this id already.")
            } catch let error as PostgresError where error.sqlState.hasPrefix("22") {
                throw FieldsealError(.payloadDoesNotFit, "A value is out of its type's range.")
            }
        }
    }

    private static let upsertAttempts = 3

    private func run(_ writes: [PreparedWrite], _ key: CurrentKey?) async throws -> [WriteOutcome] {
        if writes.count == 1, let outcome = try await writes[0].runShared(key) { return [outcome] }
        return try await deployment.pool.withConnection { connection in
            var changes = DestinationChanges()
            guard writes.count > 1 || writes[0].needsTransaction else {
                if !writes[0].isOneStep { try confirm(on: connection) }
                return [try writes[0].run(key, &changes, on: connection)]
            }
            return try connection.transaction {
                try confirm(on: connection)
                let outcomes = try writes.map { try $0.run(key, &changes, on: connection) }
                try changes.settle(in: self, on: connection)
                return outcomes
            }
        }
    }
}
