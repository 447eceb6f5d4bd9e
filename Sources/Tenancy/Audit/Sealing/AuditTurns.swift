import Foundation
import JSON
import Model
import PostgresClient

/// What a server remembers from one turn of sealing to the next.
package struct AuditTurns: Sendable {
    /// After this many failed turns in a row, a security event records that entries wait.
    package static let patience = 15

    /// The id after which the next turn begins its check of organizations without a note (see ``UnsealedAudit``). Each server
    /// starts these checks at a random id.
    private var place: UUID? = UUID.random()
    /// How many turns in a row an organization's entries could not be sealed.
    private var failures: [String: Int] = [:]

    package init() {}

    /// For the log: an organization's entries could not be sealed for ``patience`` turns, or were sealed after that.
    package struct Notice: Sendable {
        package let organization: String
        /// Why sealing fails; nil if it succeeded again.
        package let reason: String?
    }

    /// Seals new entries of the audit: in organizations that have a note, and, in each turn, in a few organizations without a note.
    ///
    /// - Parameters:
    ///   - seconds: The time between two turns.
    /// - Returns: The messages to log.
    package mutating func seal(in deployment: Deployment, by caller: Caller, each seconds: Int) async -> [Notice] {
        var names = (try? await UnsealedAudit.names(in: deployment.pool)) ?? []
        if let found = try? await UnsealedAudit.names(behind: place, in: deployment.pool) {
            place = found.place
            names += found.names.filter { !names.contains($0) }
        }
        // Organizations that failed are tried last, because they may wait for a lock.
        names = names.filter { failures[$0] == nil } + failures.keys
        var notices: [Notice] = []
        for name in names where !Task.isCancelled {
            var session: Session?
            do {
                let begun = try await Session.begin(deployment, organization: name, caller: caller)
                session = begun
                // Does nothing if another server sealed within half the time between two turns.
                try await begun.sealAudit(restingFor: seconds / 2, waits: false)
                if failures.removeValue(forKey: name) ?? 0 >= Self.patience {
                    notices.append(Notice(organization: name, reason: nil))
                }
            } catch {
                // Without a session, the organization is refused as a whole. The log and the doctor report that already.
                if session == nil, error is FieldsealError {
                    failures[name] = nil
                    continue
                }
                failures[name, default: 0] += 1
                guard let count = failures[name], count.isMultiple(of: Self.patience) else { continue }
                let reason = (error as? FieldsealError)?.message ?? "the database refuses it"
                if count == Self.patience { notices.append(Notice(organization: name, reason: reason)) }
                _ = try? await session?.recordUnsealed(for: seconds * Self.patience, because: reason)
            }
        }
        return notices
    }
}

extension Session {
    /// Records that entries of the audit could not be sealed, unless another server recorded that already, or sealed entries within
    /// the last `seconds`.
    fileprivate func recordUnsealed(for seconds: Int, because reason: String) async throws {
        try await deployment.pool.withConnection { connection in
            let newest = EventsOfKind.newest(of: [.auditSealed, .auditNotSealed], in: organization)
            let isKnown: Bool =
                try connection.query(
                    "SELECT kind = $1 OR occurred_on > now() - $2 * interval '1 second' FROM \(newest) AS e",
                    [.text(SecurityEvent.Kind.auditNotSealed.rawValue), .int32(Int32(clamping: seconds))]
                ).first?.decode(0) ?? false
            guard !isKnown else { return }
            try SecurityEvent(.auditNotSealed, .failed, details: reason)
                .insert(for: organization, by: caller, under: deployment.kek, on: connection)
        }
    }
}
