import Model
import Records
import Tenancy

/// The number of mailboxes in each state that a person may see.
struct MailboxCounts: Sendable {
    private var counts: [MailboxState: Int] = [:]

    subscript(_ state: MailboxState) -> Int { counts[state] ?? 0 }
    var total: Int { counts.values.reduce(0, +) }

    /// Counts in one query, which groups mailboxes by what determines their state.
    static func read(_ session: Session) async throws -> MailboxCounts {
        var query = RecordQuery()
        let plain = MailboxState.columns.filter { $0 != "emailserverprofile" }
        query.outputs = plain.map { .init(.column(.init($0))) }
        query.outputs.append(.init(.aggregate(.count, nil), name: "rows"))
        query.outputs.append(.init(.aggregate(.countColumn, .init("emailserverprofile")), name: "withprofile"))
        query.groups = plain.map { .init(.init($0)) }
        var counts = MailboxCounts()
        for record in try await session.list(.mailbox, query).records {
            guard case .int(let rows) = try record.value(of: "rows"),
                case .int(let withProfile) = try record.value(of: "withprofile")
            else { continue }
            counts.counts[try MailboxState(record, hasProfile: true), default: 0] += Int(withProfile)
            counts.counts[try MailboxState(record, hasProfile: false), default: 0] += Int(rows - withProfile)
        }
        return counts
    }
}
