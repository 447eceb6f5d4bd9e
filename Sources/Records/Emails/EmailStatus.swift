import Model
import Tenancy

/// The status of an e-mail (`email.statuscode`).
package enum EmailStatus: Int64, CaseIterable, Sendable {
    case draft = 1
    case completed, sent, received, canceled, pendingSend, sending, failed

    /// As SQL writes it.
    package var sql: String { "\(rawValue)" }

    /// The state for the status (`email.statecode`): 0 open, 1 completed, 2 canceled.
    package var state: Int64 {
        switch self {
        case .draft, .failed: 0
        case .canceled: 2
        case .completed, .sent, .received, .pendingSend, .sending: 1
        }
    }

    /// The label in the metadata.
    var label: String {
        switch self {
        case .draft: "Draft"
        case .completed: "Completed"
        case .sent: "Sent"
        case .received: "Received"
        case .canceled: "Canceled"
        case .pendingSend: "Pending Send"
        case .sending: "Sending"
        case .failed: "Failed"
        }
    }

    /// The default status of a state.
    init?(state: Int64) {
        switch state {
        case 0: self = .draft
        case 1: self = .completed
        case 2: self = .canceled
        default: return nil
        }
    }

    /// The statuses of e-mails that wait to be sent or are being sent.
    package static let outbound: Set<EmailStatus> = [.pendingSend, .sending]
    /// The statuses in which a client may change an e-mail's sender and recipients.
    static let editable: Set<EmailStatus> = [.draft, .failed]
}

extension Set<EmailStatus> {
    /// The statuses for SQL's `IN`. The order is fixed, so that it matches the conditions of indexes.
    package var sql: String { "(\(map(\.rawValue).sorted().map { "\($0)" }.joined(separator: ", ")))" }
}

/// The changes of an e-mail's status that a client's write may make, and the roles that may make them. This is the only definition.
///
/// Only `SendEmail` makes a draft or a failed e-mail *Pending Send* (or *Sent*, if it was sent by other means). Only a router's
/// messages lead from there to *Sending*, *Sent*, *Failed*, and back to *Pending Send*.
struct EmailTransition: Sendable {
    /// The callers that may make it: all that may update the e-mail, or only a System Administrator.
    enum Actor { case writer, administrator }

    /// The statuses before; nil means a new e-mail.
    let from: Set<EmailStatus>?
    let to: EmailStatus
    let by: Actor

    static let table: [EmailTransition] = [
        .init(from: nil, to: .draft, by: .writer),
        .init(from: [.draft, .canceled, .failed], to: .draft, by: .writer),
        .init(from: [.draft, .canceled, .failed, .pendingSend], to: .canceled, by: .writer),
        // What happened elsewhere, recorded here by a System Administrator.
        .init(from: nil, to: .completed, by: .administrator),
        .init(from: nil, to: .sent, by: .administrator),
        .init(from: nil, to: .received, by: .administrator),
        .init(from: nil, to: .canceled, by: .administrator),
        .init(from: ended, to: .draft, by: .administrator),
        .init(from: ended, to: .completed, by: .administrator),
        .init(from: ended, to: .sent, by: .administrator),
        .init(from: ended, to: .received, by: .administrator),
        .init(from: ended, to: .canceled, by: .administrator),
    ]

    /// Every status but those of submitted e-mails.
    private static let ended = Set(EmailStatus.allCases).subtracting(EmailStatus.outbound)

    /// Whether a role may create an e-mail with a status.
    static func mayCreate(_ status: EmailStatus, _ role: Role) -> Bool {
        table.contains { $0.from == nil && $0.to == status && $0.isMade(by: role) }
    }

    /// The statuses from which a role may change an e-mail to another.
    static func sources(of status: EmailStatus, _ role: Role) -> Set<EmailStatus> {
        table.filter { $0.to == status && $0.isMade(by: role) }.reduce(into: []) { $0.formUnion($1.from ?? []) }
    }

    private func isMade(by role: Role) -> Bool { by == .writer || role == .systemAdministrator }
}

/// The condition of a client's write on the e-mail's status and direction.
struct EmailWriteRule: Sendable {
    /// The statuses that the e-mail may have before an update; nil for any.
    private(set) var sources: Set<EmailStatus>?
    /// The status that the update leads to, if it names one.
    private(set) var target: EmailStatus?
    /// Whether the e-mail must be outgoing.
    private(set) var mustBeOutgoing = false

    /// - Throws: ``FieldsealError`` `.privilegeDenied` for a status or direction that the role may not write; `.invalidArgument`
    ///   for an unknown one.
    static func checkCreate(_ input: RecordInput, _ role: Role) throws(FieldsealError) {
        let status = try status(in: input) ?? .draft
        guard EmailTransition.mayCreate(status, role) else { throw refused(status, role) }
        try checkDirection(input, role)
    }

    /// The rule of an update; nil where none applies.
    init?(update input: RecordInput, _ role: Role) throws(FieldsealError) {
        try Self.checkDirection(input, role)
        let isAdministrator = role == .systemAdministrator
        mustBeOutgoing = !isAdministrator && input.values["directioncode"] != nil
        target = try Self.status(in: input)
        if let target {
            sources = EmailTransition.sources(of: target, role)
            guard sources?.isEmpty == false else { throw Self.refused(target, role) }
        } else if !isAdministrator {
            // A submitted e-mail can't be changed, only cancelled.
            sources = Set(EmailStatus.allCases).subtracting(EmailStatus.outbound)
        } else {
            return nil
        }
    }

    /// The condition on the row.
    var condition: String {
        var parts = ["true"]
        if let sources {
            parts.append("statuscode IN \(sources.sql)")
        }
        if mustBeOutgoing { parts.append("directioncode") }
        return parts.joined(separator: " AND ")
    }

    /// The reason for which an e-mail with this status was not written.
    func refusal(_ status: EmailStatus?) -> FieldsealError {
        let name = status?.label ?? "of an unknown status"
        if let target, let status, sources?.contains(status) != true {
            return FieldsealError(
                .privilegeDenied,
                "This e-mail is \(name), and can't become \(target.label) by this caller's write. See docs/web-api.md.")
        }
        if mustBeOutgoing, status.map({ sources?.contains($0) ?? true }) ?? true {
            return FieldsealError(.privilegeDenied, "directioncode of an e-mail can be changed by a System Administrator alone.")
        }
        return FieldsealError(
            .readOnly, "This e-mail is \(name), and can't be changed until it was sent. Cancel it (statuscode 5) to change it.")
    }

    private static func status(in input: RecordInput) throws(FieldsealError) -> EmailStatus? {
        switch (input.values["statuscode"], input.values["statecode"]) {
        case (.int(let code)?, _): return EmailStatus(rawValue: code)
        case (.null?, _), (nil, .null?):
            throw FieldsealError(.invalidArgument, "statuscode and statecode of an e-mail can't be set to null.")
        case (nil, .int(let state)?): return EmailStatus(state: state)
        default: return nil
        }
    }

    private static func checkDirection(_ input: RecordInput, _ role: Role) throws(FieldsealError) {
        guard let direction = input.values["directioncode"] else { return }
        guard direction != .null else {
            throw FieldsealError(.invalidArgument, "directioncode of an e-mail can't be set to null.")
        }
        guard direction == .bool(true) || role == .systemAdministrator else {
            throw FieldsealError(
                .privilegeDenied,
                "Only a System Administrator may write an incoming e-mail (directioncode false); a router delivers them.")
        }
    }

    private static func refused(_ status: EmailStatus, _ role: Role) -> FieldsealError {
        let way =
            switch status {
            case .pendingSend, .sending, .failed: "SendEmail and the router set it"
            default: "a System Administrator may"
            }
        return FieldsealError(
            .privilegeDenied,
            "The role \(role.rawValue) may not write an e-mail as \(status.label) (statuscode \(status.rawValue)): \(way).")
    }
}
