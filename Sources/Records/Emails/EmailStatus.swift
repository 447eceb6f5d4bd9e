import Model

/// The status of an e-mail (`email.statuscode`).
package enum EmailStatus: Int64, OptionValue {
    case draft = 1
    case completed, sent, received, canceled, pendingSend, sending, failed

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
    /// The statuses in which nothing happens to an e-mail any more.
    package static let ended: Set<EmailStatus> = [.completed, .sent, .received, .canceled]
}
