import KeyManagement
import PostgresClient
public import Tenancy

extension Deployment {
    /// How often an organization is looked at in which something may be left.
    public static let sweepInterval = Duration.seconds(15)
    /// Organizations that a server takes at a time. The others are free for other servers meanwhile.
    private static let sweepBatch = 50

    /// Drops what dead key changes and long readers left behind, and links the events of servers that died into their chains: in the
    /// organizations that ``SweepMarks`` name, and in no others.
    ///
    /// - Parameter rest: How long ago the last look at an organization has to be, of any server.
    public func sweepOrganizations(by caller: Caller, restingFor rest: Duration) async {
        let start = ContinuousClock.now
        while !Task.isCancelled {
            // Those of this round are not taken twice.
            let names = (try? await SweepMarks.claim(restingFor: rest + (.now - start), limit: Self.sweepBatch, in: pool)) ?? []
            for name in names where !Task.isCancelled { await sweep(name, by: caller) }
            if names.count < Self.sweepBatch { return }
        }
    }

    /// What can't be done now stays marked, and is tried again.
    private func sweep(_ name: String, by caller: Caller) async {
        guard let session = try? await Session.begin(self, organization: name, caller: caller) else { return }
        guard let keys = try? await KeyAdministration(session, to: .change) else { return }
        let isSwept = await keys.sweepGenerations()
        guard (try? await session.chainPendingEvents()) != nil, isSwept else { return }
        try? await SweepMarks.release(session.organization, in: pool)
    }
}
