import Foundation
import Synchronization
import Tenancy

/// A cache of the issuers that organizations trust. The cache is only used to reject tokens. Any client can write an issuer into a
/// token, and an untrusted issuer must not cost a query for each request.
final class RecentIssuers: Sendable {
    private struct Entry {
        let issuers: Set<String>
        let readOn: ContinuousClock.Instant
    }

    private let deployment: Deployment
    private let entries = Mutex<[String: Entry]>([:])
    private let reads = SingleFlight<String, Set<String>>()
    /// How long a list is reused. A new issuer is trusted after this time at the latest.
    private static let lifetime = Duration.seconds(1)
    private static let limit = 1_000

    init(_ deployment: Deployment) { self.deployment = deployment }

    /// Whether an organization may trust an issuer. If true, the caller must still read and verify the issuer's row.
    func mayTrust(_ issuer: String, in organization: String) async throws -> Bool {
        if let entry = entries.withLock({ $0[organization] }), .now - entry.readOn < Self.lifetime {
            return entry.issuers.contains(issuer)
        }
        let issuers = try await reads.value(of: organization) { [self] in
            let list = try await TrustedIssuers(deployment).list(named: organization)
            let issuers = Set(list.filter(\.isAuthentic).map(\.issuer))
            entries.withLock { entries in
                if entries.count >= Self.limit { entries.removeAll() }
                entries[organization] = Entry(issuers: issuers, readOn: .now)
            }
            return issuers
        }
        return issuers?.contains(issuer) ?? false
    }
}
