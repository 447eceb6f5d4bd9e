import Model
import Records
import Tenancy

/// How a mailbox is, in one word. The first that fits counts, in the order of the cases.
enum MailboxState: String, CaseIterable {
    case disabled, testing, failing, unapproved, working, untested

    /// The condition on mailboxes that are in this state.
    var filter: Filter {
        func equals(_ name: String, _ value: Int) -> Filter { .compare(.init(name), .equal, .number("\(value)")) }
        let failing = Filter.any([equals("incomingemailstatus", 2), equals("outgoingemailstatus", 2)])
        let working = Filter.any([equals("incomingemailstatus", 1), equals("outgoingemailstatus", 1)])
        let testing = Filter.compare(.init("testemailconfigurationscheduled"), .equal, .bool(true))
        let enabled = equals("statecode", 0)
        let hasProfile = Filter.not(.isNull(.init("emailserverprofile")))
        let waits = Filter.all([.compare(.init("emailrouteraccessapproval"), .notEqual, .number("1")), hasProfile])
        return switch self {
        case .disabled: .not(enabled)
        case .testing: .all([enabled, testing])
        case .failing: .all([enabled, .not(testing), failing])
        case .unapproved: .all([enabled, .not(testing), .not(failing), waits])
        case .working: .all([enabled, .not(testing), .not(failing), .not(waits), working])
        case .untested: .all([enabled, .not(testing), .not(failing), .not(waits), .not(working)])
        }
    }

    /// The columns that ``init(_:)`` reads.
    static let columns = [
        "statecode", "testemailconfigurationscheduled", "incomingemailstatus", "outgoingemailstatus", "emailrouteraccessapproval",
        "emailserverprofile",
    ]

    init(_ record: Record) throws {
        func number(_ name: String) throws -> Int64? {
            if case .int(let number) = try record.value(of: name) { number } else { nil }
        }
        let (incoming, outgoing) = (try number("incomingemailstatus"), try number("outgoingemailstatus"))
        if try number("statecode") != 0 {
            self = .disabled
        } else if try record.value(of: "testemailconfigurationscheduled") == .bool(true) {
            self = .testing
        } else if incoming == 2 || outgoing == 2 {
            self = .failing
        } else if try number("emailrouteraccessapproval") != 1, try record.value(of: "emailserverprofile") != .null {
            self = .unapproved
        } else {
            self = incoming == 1 || outgoing == 1 ? .working : .untested
        }
    }

    /// The colour that it has everywhere.
    var style: String {
        switch self {
        case .working: "good"
        case .failing: "bad"
        case .unapproved, .testing: "warn"
        case .untested, .disabled: ""
        }
    }
}

/// How many mailboxes a person sees in each state.
struct MailboxCounts: Sendable {
    private var counts: [MailboxState: Int] = [:]

    subscript(_ state: MailboxState) -> Int { counts[state] ?? 0 }
    var total: Int { counts.values.reduce(0, +) }

    /// Counts in one query: mailboxes are grouped by what their state is made of.
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
            // Without a profile, what is not approved was never set up.
            let state = try MailboxState(record)
            if state == .untested, withProfile > 0 {
                let approved = try record.value(of: "emailrouteraccessapproval") == .int(1)
                let isWaiting = !approved
                counts.counts[isWaiting ? .unapproved : .untested, default: 0] += Int(withProfile)
                counts.counts[.untested, default: 0] += Int(rows - withProfile)
            } else if state == .working, try record.value(of: "emailrouteraccessapproval") != .int(1) {
                counts.counts[.unapproved, default: 0] += Int(withProfile)
                counts.counts[.working, default: 0] += Int(rows - withProfile)
            } else {
                counts.counts[state, default: 0] += Int(rows)
            }
        }
        return counts
    }
}

extension Console {
    /// How many mailboxes a person sees in each state. Where counting takes long, the counts of a while ago; nil where there are none yet.
    func mailboxCounts(_ session: Session) async throws -> MailboxCounts? {
        let seesAll = PrivilegeTable.depth(of: .retrieveMultiple, on: .mailbox, for: session.caller.roles) == .organization
        let owner = seesAll ? nil : session.caller.systemUserID
        return try await counts.of(owner ?? session.organization.id) { try await MailboxCounts.read(session) }?.value
    }
}
