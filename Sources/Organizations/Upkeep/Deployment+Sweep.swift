import KeyManagement
import PostgresClient
package import Tenancy

extension Deployment {
    /// How often an organization that may have something to sweep is swept.
    package static let sweepInterval = Duration.seconds(15)
    /// How many organizations a server reserves at a time. Other servers can reserve the rest.
    private static let sweepBatch = 50

    /// Drops what interrupted key changes and long readers left, and links the security events that stopped servers left unlinked.
    /// Only the organizations in ``SweepMarks`` are swept.
    ///
    /// - Parameters:
    ///   - rest: How long ago the last sweep of an organization must be, by any server.
    ///   - note: Called for each organization, with the error of its sweep or nil. Also called for each search for organizations,
    ///     with nil as the organization, and the error of the search or nil.
    package func sweepOrganizations(
        by caller: Caller, restingFor rest: Duration, noting note: (_ organization: String?, (any Error)?) -> Void
    ) async {
        let start = ContinuousClock.now
        while !Task.isCancelled {
            let names: [String]
            do {
                // `.now - start` excludes the organizations that this call has swept already.
                names = try await SweepMarks.claim(restingFor: rest + (.now - start), limit: Self.sweepBatch, in: pool)
                note(nil, nil)
            } catch {
                return note(nil, error)
            }
            for name in names where !Task.isCancelled {
                do {
                    try await sweep(name, by: caller)
                    note(name, nil)
                } catch {
                    note(name, error)
                }
            }
            if names.count < Self.sweepBatch { return }
        }
    }

    /// An organization whose sweep fails keeps its mark, so its sweep is retried.
    private func sweep(_ name: String, by caller: Caller) async throws {
        let session = try await Session.begin(self, organization: name, caller: caller)
        let isSwept = try await KeyAdministration(session, to: .change).sweepGenerations()
        try await session.chainPendingEvents()
        if isSwept { try await SweepMarks.release(session.organization, in: pool) }
    }
}
