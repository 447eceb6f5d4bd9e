import Foundation
import JSON
import Model
import Records
import Tenancy

/// The facts that decide whether an action on a mailbox has an effect.
struct MailboxFacts {
    let id: UUID
    let name: String
    let address: String
    /// The name with the address, which distinguishes mailboxes with the same name.
    var shownName: String { address.isEmpty || address == name ? name : name.isEmpty ? address : "\(name) <\(address)>" }
    private let state: MailboxState
    private let isApproved: Bool
    private let isEnabled: Bool
    /// Whether a router stopped a direction that failed. The direction stays off until a test succeeds.
    let isStopped: Bool
    /// The server profile; nil if there is none, or the person may not read it.
    private let profile: UUID?

    private static let columns =
        MailboxState.columns + ["name", "emailaddress", "enabledforincomingemail", "enabledforoutgoingemail"]

    /// The facts of those mailboxes that the person may read.
    static func read(_ ids: [UUID], _ session: Session) async throws -> [UUID: MailboxFacts] {
        var query = RecordQuery()
        query.outputs = columns.map { .init(.column(.init($0))) }
        query.filter = .isIn(.init("mailboxid"), ids.map { .text($0.text) })
        query.pageSize = max(1, ids.count)
        let records = try await session.list(.mailbox, query).records
        let chosen = try records.compactMap { record -> UUID? in
            if case .id(let id) = try record.value(of: "emailserverprofile") { id } else { nil }
        }
        let profiles = try await RecordNames(["emailserverprofile": Set(chosen)], session)
        return try records.reduce(into: [:]) { $0[$1.id] = try MailboxFacts($1, profiles) }
    }

    private init(_ record: Record, _ profiles: RecordNames) throws {
        func text(_ name: String) throws -> String { if case .text(let text) = try record.value(of: name) { text } else { "" } }
        id = record.id
        (name, address) = (try text("name"), try text("emailaddress"))
        state = try MailboxState(record)
        isApproved = try record.value(of: "emailrouteraccessapproval") == RouterApproval.approved.value
        isEnabled =
            try record.value(of: "enabledforincomingemail") == .bool(true)
            && record.value(of: "enabledforoutgoingemail") == .bool(true)
        isStopped =
            try state == .failing
            && ["incoming", "outgoing"].contains { direction in
                try record.value(of: "\(direction)emailstatus") == MailOutcome.failure.value
                    && record.value(of: "enabledfor\(direction)email") != .bool(true)
            }
        if case .id(let id) = try record.value(of: "emailserverprofile"), profiles[id] != nil {
            profile = id
        } else {
            profile = nil
        }
    }

    /// Whether an action would change nothing.
    ///
    /// - Parameter chosen: The server profile to assign.
    func isDone(_ action: MailboxAction, _ chosen: UUID?) -> Bool {
        switch action {
        case .test: state == .testing
        case .approve: isApproved
        case .enable: state != .disabled && isEnabled
        case .disable: state == .disabled
        case .profile: profile != nil && profile == chosen
        }
    }

    /// The key of the reason why an action can't have an effect; nil if it can have an effect.
    ///
    /// - Parameter approves: Whether the address is approved together with the action.
    func obstacle(_ action: MailboxAction, approves: Bool = false) -> String? {
        guard action == .test else { return nil }
        // No router would test these mailboxes, so the test would never end.
        if state == .disabled { return "enableFirst" }
        if profile == nil { return "noProfileChosen" }
        // A router gets no password for an address that is not approved.
        return isApproved || approves ? nil : "notApproved"
    }

    /// Whether only the approval of the address is missing for a test.
    var lacksApproval: Bool { !isApproved && obstacle(.test, approves: true) == nil }
}
