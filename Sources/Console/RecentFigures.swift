import Email
import Foundation
import Synchronization
import Tenancy

/// Figures of the overview that take some time to count, kept for a minute: a page must not count a hundred thousand rows each time.
final class RecentFigures: Sendable {
    /// What is counted.
    struct Figures: Sendable {
        let statistics: OrganizationStatistics
        let sealed: [SealedValues]
        let date: Date
    }

    private let kept = Mutex<[UUID: Figures]>([:])

    /// Seconds for which figures are shown again.
    private static let lifetime: TimeInterval = 60
    /// Organizations whose figures are kept.
    private static let limit = 1_000

    /// The figures of a session's organization, for a System Administrator.
    func of(_ session: Session) async throws -> Figures {
        try session.requireSystemAdministrator()
        let id = session.organization.id
        if let known = kept.withLock({ $0[id] }), abs(known.date.timeIntervalSinceNow) < Self.lifetime { return known }
        let figures = Figures(statistics: try await session.statistics(), sealed: try await session.sealedValues(), date: Date())
        kept.withLock { kept in
            if kept.count >= Self.limit { kept.removeAll() }
            kept[id] = figures
        }
        return figures
    }
}
