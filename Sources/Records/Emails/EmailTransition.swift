import Model
import Tenancy

/// The changes of an e-mail's status that a client's write may make, and the roles that may make them. No other code defines these
/// changes.
///
/// Only `SendEmail` makes a draft or a failed e-mail *Pending Send* (or *Sent*, if it was sent by other means). Only a router's
/// messages lead from *Pending Send* to *Sending*, *Sent*, *Failed*, and back to *Pending Send*.
struct EmailTransition: Sendable {
    /// The callers that may make the change: all that may update the e-mail, or only a System Administrator.
    enum Actor { case writer, administrator }

    /// The statuses that an e-mail may have before the change; nil for a new e-mail.
    let from: Set<EmailStatus>?
    let to: EmailStatus
    let by: Actor

    static let table: [EmailTransition] = [
        .init(from: nil, to: .draft, by: .writer),
        .init(from: [.draft, .canceled, .failed], to: .draft, by: .writer),
        .init(from: [.draft, .canceled, .failed, .pendingSend], to: .canceled, by: .writer),
        // A System Administrator may record what happened to an e-mail outside of this service.
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

    /// Every status except those of submitted e-mails.
    private static let ended = Set(EmailStatus.allCases).subtracting(EmailStatus.outbound)

    /// Whether a role may create an e-mail with a status.
    static func mayCreate(_ status: EmailStatus, _ role: Role) -> Bool {
        table.contains { $0.from == nil && $0.to == status && $0.isMade(by: role) }
    }

    /// The statuses from which a role may change an e-mail to `status`.
    static func sources(of status: EmailStatus, _ role: Role) -> Set<EmailStatus> {
        table.filter { $0.to == status && $0.isMade(by: role) }.reduce(into: []) { $0.formUnion($1.from ?? []) }
    }

    private func isMade(by role: Role) -> Bool { by == .writer || role == .systemAdministrator }
}
