import Logging
import RouterProtocol

// Moves and deletes messages on the mail server once the service has responded about them.
extension MailboxTurn {
    /// Moves messages that can't become records, and deletes messages that are records. A message that the server refuses to
    /// move or to delete stays in the inbox and holds up no other message.
    func settle(
        _ settled: [Delivery.Acknowledged], _ fetcher: inout IMAPFetcher, _ delivery: Delivery, _ unfinished: inout Set<UInt32>
    ) throws {
        let bad = settled.filter { $0.fate == .undeliverable }.map(\.source)
        let good = settled.filter { $0.fate == .recorded }.map(\.source)
        if let folder = mailbox.undeliverableFolder, !bad.isEmpty {
            do {
                try fetcher.withSession { try $0.move(bad, to: folder) }
            } catch MailError.refused(let words) {
                delivery.note(
                    stay(
                        bad, "could not be moved to the folder \(folder)",
                        "Set another folder in undeliverablefolder, or let the account write to it", words))
            }
        }
        if mailbox.deletesAfterProcessing, !good.isEmpty {
            do {
                try fetcher.withSession { try $0.delete(good) }
            } catch MailError.refused(let words) {
                delivery.note(noDeletion(good.map { "UID \($0)" }, words))
            }
        }
        unfinished.subtract(settled.map(\.source))
    }

    /// An alert about messages that the server does not delete.
    func noDeletion(_ names: [String], _ words: String) -> MailboxProblem {
        stay(names, "are records and could not be deleted", "Let the account delete messages, or delete them yourself", words)
    }

    private func stay(_ uids: [UInt32], _ what: String, _ advice: String, _ words: String) -> MailboxProblem {
        stay(uids.map { "UID \($0)" }, what, advice, words)
    }

    private func stay(_ names: [String], _ what: String, _ advice: String, _ words: String) -> MailboxProblem {
        let shown = names.prefix(Self.namesLimit).joined(separator: ", ")
        let all = names.count > Self.namesLimit ? "\(shown), … (+\(names.count - Self.namesLimit))" : shown
        log(.warning, "messages stay in the inbox", ["messages": "\(all)", "error": "\(words)"])
        return MailboxProblem(
            AlertCode.undeliverable,
            "Messages of \(mailbox.address) \(what), and stay in the inbox: \(all). \(advice). The server says: \(words)",
            words, isPermanent: true)
    }

    /// How many messages one alert names at most.
    private static let namesLimit = 100

    /// The alerts of a turn, cut to the limit of one report. Messages that contain many other messages can cause more alerts than
    /// this limit. If alerts are omitted, the last alert names the messages that they are about.
    static func alerts(_ problems: [MailboxProblem]) -> [MailboxReport.Problem] {
        guard problems.count > MailboxReport.alertLimit else { return problems.map(\.told) }
        let rest = problems[(MailboxReport.alertLimit - 1)...]
        var known: Set<Substring> = []
        let names = rest.map { $0.details.prefix { $0 != "," && $0 != ":" } }.filter { known.insert($0).inserted }
        let last = MailboxProblem(
            AlertCode.undeliverable,
            "\(rest.count) more messages did not become records. They are in these messages of the mailbox: \(names.joined(separator: ", "))",
            names.joined(separator: ", "), isPermanent: true)
        return (problems.prefix(MailboxReport.alertLimit - 1) + [last]).map(\.told)
    }
}
