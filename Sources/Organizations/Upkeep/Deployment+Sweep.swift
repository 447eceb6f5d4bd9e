import KeyManagement
import PostgresClient
package import Tenancy

extension Deployment {
    /// How often an organization with possible remains is swept.
    package static let sweepInterval = Duration.seconds(15)
    /// How many organizations a server reserves at a time. Other servers can take the others.
    private static let sweepBatch = 50

    /// Drops what interrupted key changes and long readers left, and links the events that ended servers left. It sweeps only the
    /// organizations in ``SweepMarks``.
    ///
    /// - Parameter rest: How long ago the last sweep of an organization must be, by any server.
    package func sweepOrganizations(by caller: Caller, restingFor rest: Duration) async {
        let start = ContinuousClock.now
        while !Task.isCancelled {
            // Excludes organizations of this round, so that none is swept twice.
            let names = (try? await SweepMarks.claim(restingFor: rest + (.now - start), limit: Self.sweepBatch, in: pool)) ?? []
            for name in names where !Task.isCancelled { await sweep(name, by: caller) }
            if names.count < Self.sweepBatch { return }
        }
    }

    /// What fails now stays marked, and is tried again.
    private func sweep(_ name: String, by caller: Caller) async {
        guard let session = try? await Session.begin(self, organization: name, caller: caller) else { return }
        guard let keys = try? await KeyAdministration(session, to: .change) else { return }
        let isSwept = await keys.sweepGenerations()
        guard (try? await session.chainPendingEvents()) != nil, isSwept else { return }
        try? await SweepMarks.release(session.organization, in: pool)
    }
}
