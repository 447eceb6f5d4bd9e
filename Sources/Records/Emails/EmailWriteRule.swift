import Model
import Tenancy

/// The statuses and the direction in which an e-mail accepts a client's write.
struct EmailWriteRule: Sendable {
    /// The statuses that the e-mail may have before an update; nil for any.
    private(set) var sources: Set<EmailStatus>?
    /// The status that the update leads to, if it names one.
    private(set) var target: EmailStatus?
    /// Whether the e-mail must be outgoing.
    private(set) var mustBeOutgoing = false
    /// Whether the write only changes the status. A submitted e-mail can be canceled only by a write that changes nothing else.
    private var isStatusAlone = true

    /// - Throws: ``FieldsealError`` `.privilegeDenied` for a status or direction that the role may not write; `.invalidArgument`
    ///   for an unknown status or direction.
    static func checkCreate(_ input: ParsedValues, _ role: Role) throws(FieldsealError) {
        let status = status(in: input) ?? .draft
        guard EmailTransition.mayCreate(status, role) else { throw refused(status, role) }
        try checkDirection(input, role)
    }

    /// The rule of an update.
    init(update input: ParsedValues, _ role: Role) throws(FieldsealError) {
        try Self.checkDirection(input, role)
        mustBeOutgoing = role != .systemAdministrator && input.values["directioncode"] != nil
        target = Self.status(in: input)
        // A submitted e-mail can't be changed, only canceled.
        var sources = Self.unsubmitted
        if let target {
            let possible = EmailTransition.sources(of: target, role)
            guard !possible.isEmpty else { throw Self.refused(target, role) }
            isStatusAlone = input.names.isSubset(of: ["statuscode", "statecode"])
            sources = isStatusAlone ? possible : possible.intersection(sources)
        }
        self.sources = sources
    }

    /// The rule of a change of an e-mail's files.
    static var ofFiles: EmailWriteRule { EmailWriteRule(sources: unsubmitted) }

    private init(sources: Set<EmailStatus>) { self.sources = sources }

    private static let unsubmitted = Set(EmailStatus.allCases).subtracting(EmailStatus.outbound)

    /// The attributes of an update that the caller may not write in any status of the e-mail, each with the error. The error is not
    /// thrown if the e-mail already has the same value.
    static func withheld(_ input: ParsedValues, from caller: Caller) -> [String: FieldsealError] {
        var refusals: [String: FieldsealError] = [:]
        let isBound = caller.role != .systemAdministrator || caller.impersonation != nil
        for name in isBound ? input.names.subtracting(input.createOnly) : [] where input.values[name] != nil {
            guard caller.depth(of: .update, writing: name, on: input.entity) == .none else { continue }
            refusals[name] = PreparedWrite.refusal(of: name, input.entity, caller.role)
        }
        do { try checkDirection(input, caller.role) } catch { refusals["directioncode"] = error }
        if let status = status(in: input), EmailTransition.sources(of: status, caller.role).isEmpty {
            for name in ["statuscode", "statecode"] where input.values[name] != nil {
                refusals[name] = refused(status, caller.role)
            }
        }
        return refusals
    }

    /// The rule of a deletion; nil for a System Administrator, who may delete any e-mail.
    init?(deletionBy role: Role) {
        guard role != .systemAdministrator else { return nil }
        sources = Self.unsubmitted
    }

    /// The SQL condition that the e-mail's row has to meet.
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
        let isSubmitted = status.map(EmailStatus.outbound.contains) ?? false
        if let target, let status, sources?.contains(status) != true, isStatusAlone || !isSubmitted {
            return FieldsealError(
                .privilegeDenied,
                "This e-mail is \(name), and can't become \(target.label) by this caller's write. See docs/web-api.md."
            ).about("statuscode")
        }
        if mustBeOutgoing, status.map({ sources?.contains($0) ?? true }) ?? true {
            return FieldsealError(.privilegeDenied, "directioncode of an e-mail can be changed by a System Administrator alone.")
                .about("directioncode")
        }
        guard status != .sending else {
            return FieldsealError(
                .readOnly,
                "This e-mail is \(name), and can't be changed or deleted until it was sent. Wait until the router is done.")
        }
        return FieldsealError(
            .readOnly,
            "This e-mail is \(name), and can't be changed or deleted until it was sent. Cancel the e-mail first, with a request "
                + "that sets only statuscode to 5."
        )
    }

    private static func status(in input: ParsedValues) -> EmailStatus? {
        switch (input.values["statuscode"], input.values["statecode"]) {
        case (.int(let code)?, _): return EmailStatus(rawValue: code)
        case (nil, .int(let state)?): return EmailStatus(state: state)
        default: return nil
        }
    }

    private static func checkDirection(_ input: ParsedValues, _ role: Role) throws(FieldsealError) {
        guard let direction = input.values["directioncode"] else { return }
        guard direction == .bool(true) || role == .systemAdministrator else {
            throw FieldsealError(
                .privilegeDenied,
                "Only a System Administrator may write an incoming e-mail (directioncode false); a router delivers them."
            ).about("directioncode")
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
            "The role \(role.rawValue) may not write an e-mail as \(status.label) (statuscode \(status.rawValue)): \(way)."
        ).about("statuscode")
    }
}
