import ArgumentParser
import Email
import Foundation
import JSON
import Model

/// Prints the status of mailboxes and routers: mailboxes with problems first, and one line for all other mailboxes.
struct RouterStatusCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show the mailboxes with problems, and count the others. This command uses the service's settings.",
        discussion: """
            A mailbox has a problem if its last turn failed, it was disabled after an error, a message was set aside, or no router \
            has looked at it for ten minutes after it was due. Routers skip mailboxes without a profile or a delivery method: the \
            command counts these mailboxes, and --all says what each lacks. With --json there is one line for each mailbox, those \
            with problems first.
            """,
        example: "router status --org contoso --all")
    @OptionGroup var organization: OrganizationOption
    @OptionGroup var options: CommandOptions
    @Flag(help: "Also show the mailboxes that work.") var all = false

    func run() async throws {
        let status = try MailboxStatusReading(try await organization.session(options))
        let mailboxes = try await status.mailboxes()
        for mailbox in mailboxes where options.json || all || mailbox.hasProblem || mailbox.hasNews {
            options.report(mailbox.json, mailbox.lines.joined(separator: "\n  "))
        }
        guard !options.json else { return }
        let routers = try await status.routers()
        let works = mailboxes.contains { ($0.receives || $0.sends) && $0.obstacle == nil }
        if routers.isEmpty, works {
            CommandOutput.line("No router is running, so no mail is fetched or sent. Start one: fieldseal router.")
        }
        CommandOutput.line(Self.total(mailboxes))
        if !routers.isEmpty || !works { CommandOutput.line(Self.line(routers)) }
    }

    private static func total(_ mailboxes: [MailboxStatus]) -> String {
        let well = mailboxes.filter { !$0.hasProblem }
        let (watched, pending) = (well.count { $0.watchedBy != nil }, mailboxes.map(\.pending).reduce(0, +))
        let failed = mailboxes.map(\.failed).reduce(0, +)
        let problems = mailboxes.count - well.count
        let news = well.count(where: \.hasNews)
        let noted = news == 0 ? "" : ", \(news) of them with e-mails that failed or alerts of the last day"
        let unready = mailboxes.count { $0.obstacle != nil }
        let lacking = unready == 0 ? "" : " Routers skip \(unready) of the enabled mailboxes: --all says what these lack."
        return
            "\(problems) \(problems == 1 ? "mailbox has a problem" : "mailboxes have problems"). \(well.count) without "
            + "problems\(noted), \(watched) of them watched for new messages. \(pending) "
            + "\(pending == 1 ? "e-mail waits" : "e-mails wait") to be sent, \(failed) failed.\(lacking)"
    }

    private static func line(_ routers: [MailRouterStatus]) -> String {
        guard !routers.isEmpty else { return "No router is running." }
        let names = routers.map { "\($0.name) since \(ISO8601.text($0.startedOn)), watching \($0.watching)" }
        return "Running routers: \(names.joined(separator: "; "))."
    }
}

extension MailboxStatus {
    fileprivate var json: JSONValue {
        [
            "mailboxId": .string(id.text), "name": .string(name), "address": .string(address), "hasProblem": .bool(hasProblem),
            "receives": .bool(receives), "sends": .bool(sends), "incomingStatus": .integer(Int64(incomingStatus)),
            "outgoingStatus": .integer(Int64(outgoingStatus)), "leasedTo": .text(leasedTo), "watchedBy": .text(watchedBy),
            "lastSync": .text(lastSync.map { ISO8601.text($0) }), "nextTurn": .text(nextTurn.map { ISO8601.text($0) }),
            "isLate": .bool(isLate), "failures": .integer(Int64(failures)), "pending": .integer(Int64(pending)),
            "nextSending": .text(nextSending.map { ISO8601.text($0) }), "failed": .integer(Int64(failed)),
            "alerts": .integer(Int64(alerts)), "newestAlert": .text(newestAlert), "error": .text(error),
            "errorCode": errorCode.map { .integer(Int64($0)) } ?? .null, "errorSince": .text(errorSince.map { ISO8601.text($0) }),
            "setAside": .integer(Int64(setAside)), "obstacle": .text(obstacle?.rawValue), "messages": .array(messages.map(\.json)),
        ]
    }

    /// The text output: the mailbox, and its problem below it.
    fileprivate var lines: [String] {
        func word(_ isEnabled: Bool, _ status: Int) -> String { isEnabled ? "on" : status == 2 ? "off after an error" : "off" }
        var lines = [
            "\(name) <\(address)>  incoming \(word(receives, incomingStatus)), outgoing \(word(sends, outgoingStatus)), \(pending) to send, "
                + "\(failed) failed, last success \(lastSync.map { ISO8601.text($0) } ?? "never"), \(next)"
        ]
        if let leasedTo { lines.append("worked on by \(leasedTo)") }
        if let error { lines.append("since \(errorSince.map { ISO8601.text($0) } ?? "?") [\(errorCode ?? 0)]: \(error)") }
        if let newestAlert {
            lines.append("\(alerts == 1 ? "1 alert" : "\(alerts) alerts") within a day, the newest: \(newestAlert)")
        }
        if alerts > 1 || failed > 0 { lines.append("all alerts: tracelogs?$filter=_regardingobjectid_value eq '\(id.text)'") }
        if incomingStatus == 2 && !receives || outgoingStatus == 2 && !sends {
            lines.append(
                "It stays off until it is tested again: set testemailconfigurationscheduled to true, or choose Test & enable in the console."
            )
        }
        if isPostponedFar {
            lines.append(
                "Its next turn is later than any setting allows. Find out who wrote postponemailboxprocessinguntil, and test the "
                    + "mailbox again."
            )
        }
        if let obstacle { lines.append(obstacle.words) }
        if isLate { lines.append("No router has looked at it since it was due. Start one: fieldseal router.") }
        for message in messages {
            lines.append(
                "set aside: \(message.uid), Message-ID \(message.messageID ?? "unknown"), \(message.attempts) attempts, next "
                    + "\(message.nextAttempt.map { ISO8601.text($0) } ?? "never"): \(message.reason)")
        }
        if setAside > messages.count { lines.append("and \(setAside - messages.count) more messages set aside") }
        return lines.map(\.onOneLine)
    }

    private var next: String {
        if obstacle != nil { return "no next turn" }
        if watchedBy != nil { return "next turn when a message arrives" }
        return receives ? "next turn \(nextTurn.map { ISO8601.text($0) } ?? "now")" : "next turn when there is something to send"
    }
}

extension MailboxStatus.Obstacle {
    fileprivate var words: String {
        switch self {
        case .profile: "No router works for it: it has no e-mail server profile. Set emailserverprofile."
        case .activeProfile:
            "No router works for it: its e-mail server profile is inactive. Activate the profile, or set another one."
        case .deliveryMethod:
            "No router works for it: no direction that is on has a delivery method. Set incomingemaildeliverymethod to 2, or outgoingemaildeliverymethod to 2."
        }
    }
}

extension MailboxStatus.SetAsideMessage {
    fileprivate var json: JSONValue {
        [
            "uid": .string(uid), "messageId": .text(messageID), "reason": .string(reason), "attempts": .integer(Int64(attempts)),
            "nextAttempt": .text(nextAttempt.map { ISO8601.text($0) }), "since": .string(ISO8601.text(since)),
        ]
    }
}
