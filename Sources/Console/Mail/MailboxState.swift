import Model
import Records
import Tenancy

/// The state of a mailbox in one word. If several cases match, the first one in this order counts.
enum MailboxState: String, CaseIterable {
    case disabled, testing, unapproved, failing, working, untested

    /// The condition for mailboxes in this state.
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
        case .unapproved: .all([enabled, .not(testing), waits])
        case .failing: .all([enabled, .not(testing), .not(waits), failing])
        case .working: .all([enabled, .not(testing), .not(waits), .not(failing), working])
        case .untested: .all([enabled, .not(testing), .not(waits), .not(failing), .not(working)])
        }
    }

    /// The columns that ``init(_:)`` reads.
    static let columns = [
        "statecode", "testemailconfigurationscheduled", "incomingemailstatus", "outgoingemailstatus", "emailrouteraccessapproval",
        "emailserverprofile",
    ]

    init(_ record: Record) throws {
        try self.init(record, hasProfile: try record.value(of: "emailserverprofile") != .null)
    }

    /// - Parameter record: A mailbox, or the values that a group of mailboxes shares, without the profile.
    init(_ record: Record, hasProfile: Bool) throws {
        func has<Option: OptionValue>(_ name: String, _ option: Option) throws -> Bool {
            try record.value(of: name) == option.value
        }
        func outcome(_ outcome: MailOutcome) throws -> Bool {
            try has("incomingemailstatus", outcome) || has("outgoingemailstatus", outcome)
        }
        if try !has("statecode", RecordState.active) {
            self = .disabled
        } else if try record.value(of: "testemailconfigurationscheduled") == .bool(true) {
            self = .testing
        } else if try hasProfile && !has("emailrouteraccessapproval", RouterApproval.approved) {
            // No router works on a mailbox whose address is not approved. So this state comes before a failure from an earlier
            // time.
            self = .unapproved
        } else if try outcome(.failure) {
            self = .failing
        } else {
            self = try outcome(.success) ? .working : .untested
        }
    }

    /// All states, in the order of charts.
    static let inCharts = [working] + allCases.filter { $0 != .working && $0 != .disabled } + [disabled]

    /// The color of the state in a chart.
    var chartStyle: String {
        switch self {
        case .working: "good"
        case .testing: "a"
        case .failing: "bad"
        case .unapproved: "warn"
        case .untested: "none"
        case .disabled: "b"
        }
    }

    /// The color of the state.
    var style: String {
        switch self {
        case .working: "good"
        case .failing: "bad"
        case .unapproved, .testing: "warn"
        case .untested, .disabled: ""
        }
    }
}

extension Console {
    /// The number of mailboxes in each state that a person may see. If counting takes long, earlier counts are returned; nil if
    /// there are none yet.
    func mailboxCounts(_ session: Session) async throws -> MailboxCounts? {
        let seesAll = PrivilegeTable.depth(of: .retrieveMultiple, on: .mailbox, for: session.caller.roles) == .organization
        let owner = seesAll ? nil : session.caller.systemUserID
        return try await counts.of(owner ?? session.organization.id) { try await MailboxCounts.read(session) }?.value
    }
}
