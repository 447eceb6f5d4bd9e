import Foundation
import JSON
import Model
import PostgresClient
package import Tenancy

extension Session {
    /// Does one write.
    ///
    /// - Throws: ``FieldsealError``: `.objectDoesNotExist`, `.concurrencyVersionMismatch`, `.duplicateRecord`, `.privilegeDenied`,
    ///   `.keyRequired`, and every error of the metadata.
    @discardableResult
    package func write(_ write: RecordWrite) async throws -> WriteOutcome { try await self.write([write])[0] }

    /// Does several writes in one transaction: all of them or none.
    ///
    /// - Parameter progress: Updated with the current write, so that the caller knows which write was refused.
    /// - Throws: ``FieldsealError`` of the first write that fails.
    package func write(_ writes: [RecordWrite], progress: WriteProgress? = nil) async throws -> [WriteOutcome] {
        try await write(writes.map { (by: self, write: $0) }, progress: progress)
    }

    /// Does several writes of several users in one transaction. Each write has the rights of its own session.
    package func write(_ writes: [(by: Session, write: RecordWrite)], progress: WriteProgress? = nil) async throws -> [WriteOutcome]
    {
        let prepared = try writes.enumerated().map { index, item in
            progress?.index = index
            return try PreparedWrite(item.write, for: item.by)
        }
        guard !prepared.isEmpty else { return [] }
        var attempt = 1
        let start = (ContinuousClock.now, Date())
        while true {
            do {
                guard prepared.contains(where: \.needsKey) else { return try await run(prepared, nil, progress) }
                try await deployment.sweepMarks.ensure(organization, in: deployment.pool)
                defer { deployment.pendingEvents.note(organization) }
                let outcomes = try await withCurrentKey { try await run(prepared, $0, progress) }
                let events = zip(prepared, outcomes).flatMap { $0.expectedEvents(of: $1.id, since: start.1) }
                deployment.pendingEvents.expect(events, of: organization)
                return outcomes
            } catch let refusal as DestinationChanges.Refusal {
                try await refusal.session.record(SecurityEvent(.mailDestinationChanged, .refused, details: refusal.details))
                throw refusal.error
            } catch let error as PostgresError where error.state == .uniqueViolation && attempt < Self.upsertAttempts {
                // Another request created the record after this one looked for it, so this write becomes an update.
                attempt += 1
            } catch let error as UncertainCommit {
                let resolution = WriteResolution(session: self, traces: prepared.map(\.trace), start: start)
                if let outcomes = try await resolution.outcomes(after: error) { return outcomes }
                throw PostgresError(kind: .connection, message: "the connection broke before the change was committed")
            } catch let error as PostgresError where error.state == .uniqueViolation {
                throw FieldsealError(.duplicateRecord, "There is a record with this id already.")
            } catch let error as PostgresError where error.isImpossibleText {
                throw error.refusal
            } catch let error as PostgresError where error.sqlState.hasPrefix("22") {
                throw FieldsealError(.payloadDoesNotFit, "A value is out of its type's range.")
            }
        }
    }

    private static let upsertAttempts = 3

    private func run(_ writes: [PreparedWrite], _ key: CurrentKey?, _ progress: WriteProgress?) async throws -> [WriteOutcome] {
        do {
            if writes.count == 1, let outcome = try await writes[0].runShared(key) { return [outcome] }
            return try await deployment.pool.withConnection { try run(writes, key, progress, on: $0) }
        } catch let error as PostgresError where error.kind == .unknownOutcome {
            throw UncertainCommit(backend: error.backend, outcomes: nil)
        }
    }

    private func run(
        _ writes: [PreparedWrite], _ key: CurrentKey?, _ progress: WriteProgress?, on connection: isolated PostgresConnection
    ) throws -> [WriteOutcome] {
        guard writes.count > 1 || writes[0].needsTransaction else {
            if !writes[0].isOneStep { try confirm(on: connection) }
            var changes = DestinationChanges()
            return [try writes[0].run(key, &changes, on: connection)]
        }
        var outcomes: [WriteOutcome]?
        var attempts = 0
        do {
            return try connection.transaction {
                outcomes = nil
                attempts += 1
                var changes = DestinationChanges()
                // A record that is written twice has the same `modifiedon` each time, so the audit gets the caller's name from
                // this statement.
                _ = try run([callerSettings], on: connection)
                if attempts > 1 { try lock(writes.map(\.trace), on: connection) }
                var targets: Set<[UUID]> = []
                let isMixed = writes.contains { $0.caller.actor != caller.actor }
                let all = try writes.enumerated().map { index, write in
                    progress?.index = index
                    if isMixed { _ = try connection.pipeline([write.session.callerSettings]) }
                    let outcome = try write.run(key, &changes, on: connection)
                    if let message = write.message, !targets.insert([message, outcome.id]).inserted {
                        throw RecordKey.repeated(outcome.id.text)
                    }
                    return outcome
                }
                try changes.settle(in: self, on: connection)
                outcomes = all
                return all
            }
        } catch let error as PostgresError where error.kind == .unknownOutcome {
            throw UncertainCommit(backend: error.backend, outcomes: outcomes)
        }
    }
}
