import Foundation
package import MetricsFormat
import Synchronization

/// Counts a router's work since its start. The figures contain no part of a message.
package final class RouterMetrics: Sendable {
    private struct Mailbox {
        var lag = 0.0
        var seconds = 0.0
        var finished = Date()
    }

    private struct State {
        var counts = MailboxTurn.Counts()
        var turns = 0
        var problems: [Int: Int] = [:]
        var mailboxes: [String: Mailbox] = [:]
        var waits = 0
        var watched = 0
    }

    private let state = Mutex(State())

    init() {}

    /// Counts a request for work.
    func countWait() { state.withLock { $0.waits += 1 } }

    /// The number of connections on which mail servers notify of new messages.
    var watched: Int {
        get { state.withLock(\.watched) }
        set { state.withLock { $0.watched = newValue } }
    }

    /// Adds the counts of a turn.
    func add(_ counts: MailboxTurn.Counts, problem: Int?, mailbox: String, began: Date) {
        let now = Date()
        state.withLock { state in
            state.counts += counts
            state.counts.problems = []
            state.turns += 1
            if let problem { state.problems[problem, default: 0] += 1 }
            // Forgets mailboxes without a turn for a day: another router may have them now.
            state.mailboxes = state.mailboxes.filter { now.timeIntervalSince($0.value.finished) < 86_400 }
            state.mailboxes[mailbox] = Mailbox(
                lag: counts.oldestArrival.map { max(0, began.timeIntervalSince($0)) } ?? 0, seconds: now.timeIntervalSince(began),
                finished: now)
        }
    }

    /// Adds the metrics.
    package func write(to text: inout MetricsText) {
        let state = state.withLock { $0 }
        func counter(_ name: String, _ help: String, _ value: Int) {
            text.counter("fieldseal_router_\(name)", help, [.init([:], Double(value))])
        }
        func counters(_ name: String, _ help: String, _ label: String, _ values: [String: Int]) {
            text.counter(
                "fieldseal_router_\(name)", help,
                values.sorted { $0.key < $1.key }.map { value, count in .init([label: value], Double(count)) })
        }
        func gauge(_ name: String, _ help: String, _ value: (Mailbox) -> Double) {
            text.gauge(
                "fieldseal_router_\(name)", help,
                state.mailboxes.sorted { $0.key < $1.key }.map { id, mailbox in .init(["mailbox": id], value(mailbox)) })
        }
        counter("waits", "Requests for work.", state.waits)
        text.gauge(
            "fieldseal_router_watched_mailboxes", "Connections on which mail servers report new messages.",
            [.init([:], Double(state.watched))])
        counter("turns", "Turns at mailboxes.", state.turns)
        counter("messages_fetched", "Messages that were fetched from mail servers.", state.counts.fetched)
        counter("messages_delivered", "Messages that became records.", state.counts.processed)
        counters(
            "messages_refused", "Messages that the service did not make a record of, by the reason.", "reason",
            Dictionary(state.counts.refused.map { (Self.reasons[$0.key] ?? "\($0.key)", $0.value) }, uniquingKeysWith: +))
        counter("messages_undeliverable", "Messages that can't become records.", state.counts.failed)
        counter("emails_sent", "E-mails that mail servers accepted.", state.counts.sent)
        counters(
            "emails_failed", "E-mails that mail servers did not accept, by whether that is permanent.", "outcome",
            state.counts.unsent)
        counters(
            "problems", "Turns that found something wrong with the mailbox, by the code of its alert.", "code",
            Dictionary(uniqueKeysWithValues: state.problems.map { ("\($0.key)", $0.value) }))
        gauge("mailbox_lag_seconds", "Age of the oldest message that the last turn found; 0 when there was none.") { $0.lag }
        gauge("mailbox_turn_seconds", "How long the last turn took, in seconds.") { $0.seconds }
        gauge("mailbox_turn_finished_timestamp_seconds", "When the last turn ended.") { $0.finished.timeIntervalSince1970 }
    }

    /// Dataverse's reason codes in words.
    private static let reasons = [
        -1: "no filter takes it", 0: "duplicate", 1: "token unmatched", 3: "no recipient", 4: "own message", 7: "bad sender",
    ]
}
