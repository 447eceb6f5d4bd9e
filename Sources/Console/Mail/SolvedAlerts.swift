import Email
import Foundation
import JSON
import Model
import Records
import Tenancy

/// Which alerts about mailboxes are solved: an alert about a state is solved if the mailbox has worked since then.
///
/// An alert about a single message or e-mail is not solved by this, because a mailbox that works proves nothing about the message.
struct SolvedAlerts {
    /// The columns of an alert that decide whether it is solved.
    static let columns = ["tracecode", "regardingobjectid", "modifiedon", "level"]

    /// When each working mailbox last worked.
    private let successes: [UUID: Date]

    /// Reads the facts for alerts that a person may read.
    static func read(_ alerts: [Record], _ session: Session) async throws -> SolvedAlerts {
        let boxes = try Set(alerts.compactMap { if case .id(let id) = try $0.value(of: "regardingobjectid") { id } else { nil } })
        guard !boxes.isEmpty, Navigation.mayList(.mailbox, session.caller.roles) else { return SolvedAlerts(successes: [:]) }
        var query = RecordQuery()
        query.outputs = (MailboxState.columns + ["lastsyncerror", "lastsuccessfulsynccompletedon"]).map {
            .init(.column(.init($0)))
        }
        query.filter = .isIn(.init("mailboxid"), boxes.map { .text($0.text) })
        query.pageSize = boxes.count
        let mailboxes = try await session.list(.mailbox, query).records
        return SolvedAlerts(
            successes: try mailboxes.reduce(into: [:]) { dates, box in
                guard try MailboxState(box) == .working, try box.value(of: "lastsyncerror") == .null,
                    case .date(let date) = try box.value(of: "lastsuccessfulsynccompletedon")
                else { return }
                dates[box.id] = date
            })
    }

    /// Whether the mailbox of an alert has worked since the alert.
    func contains(_ alert: Record) throws -> Bool {
        guard case .int(let code) = try alert.value(of: "tracecode"), MailboxAlerts.ofStates.contains(code),
            case .int(let level) = try alert.value(of: "level"), level > 1,
            case .id(let box) = try alert.value(of: "regardingobjectid"), let success = successes[box],
            case .date(let date) = try alert.value(of: "modifiedon")
        else { return false }
        return date < success
    }
}
