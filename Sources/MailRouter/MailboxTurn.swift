import CCurl
import Crypto
import CurlClient
import Foundation
import Logging

/// One turn at a leased mailbox: fetch, then send, then say how it went.
struct MailboxTurn {
    let mailbox: Mailbox
    let host: String
    let client: RouterClient
    let configuration: RouterConfiguration
    let logger: Logger
    let isStopped: () -> Bool

    private struct Counts {
        var processed = 0
        var failed = 0
        var refused = 0
        var sent = 0
    }

    /// Where the next turn goes on. Losing it costs a walk over what is there, and nothing else: records are made once.
    private struct State: Codable {
        /// IMAP: UIDVALIDITY and the highest UID that was looked at.
        var validity: UInt32?
        var uid: UInt32?
        /// POP3: the unique ids that were looked at.
        var ids: [String]?
    }

    func run() throws {
        let began = ContinuousClock.now
        var counts = Counts()
        var report: [String: Parameter] = ["MailboxId": .text(mailbox.mailboxId), "HostId": .text(host)]
        var problem: MailboxProblem?
        var state = mailbox.routerState.flatMap { try? JSONDecoder().decode(State.self, from: Data($0.utf8)) } ?? State()
        if mailbox.receives || mailbox.tests {
            do {
                try receive(&state, &counts)
                report["IncomingIsWell"] = .flag(true)
            } catch let error as MailboxProblem {
                problem = error
                report["IncomingIsWell"] = .flag(false)
            }
        }
        if mailbox.sends || mailbox.tests {
            do {
                try send(&counts)
                report["OutgoingIsWell"] = .flag(true)
            } catch let error as MailboxProblem {
                problem = problem ?? error
                report["OutgoingIsWell"] = .flag(false)
            }
        }
        report["RouterState"] = .text(String(decoding: try JSONEncoder().encode(state), as: UTF8.self))
        report["Processed"] = .number(counts.processed)
        report["Failed"] = .number(counts.failed)
        // Somebody who has more than one turn takes is due again at once, after the others.
        report["Interval"] = .number(counts.processed + counts.refused >= configuration.turnLimit ? 1 : configuration.interval)
        if let problem {
            report["Error"] = .object([
                "Code": .number(problem.code), "Text": .text(problem.text), "Details": .text(problem.details),
                "IsPermanent": .flag(problem.isPermanent),
            ])
        }
        try persistently { _ = try client.call("fieldseal.ReportMailbox", report) }
        var metadata: Logger.Metadata = [
            "mailbox": "\(mailbox.mailboxId)", "delivered": "\(counts.processed)", "refused": "\(counts.refused)",
            "sent": "\(counts.sent)",
            "failed": "\(counts.failed)", "seconds": "\((ContinuousClock.now - began) / .seconds(1))",
        ]
        if let problem { metadata["problem"] = "\(problem.text)" }
        logger.log(level: problem == nil ? .info : .warning, "mailbox processed", metadata: metadata)
    }

    /// Asks again while the service is away, as long as the lease may last.
    private func persistently(_ body: () throws -> Void) throws {
        var wait = 0.2
        let deadline = Date().addingTimeInterval(900)
        while true {
            do {
                return try body()
            } catch ServiceError.away(let why) {
                guard Date() < deadline, !isStopped() else { throw ServiceError.away(why) }
                Thread.sleep(forTimeInterval: wait)
                wait = min(wait * 2, 10)
            }
        }
    }

    // MARK: Signing in

    private func login(_ direction: String) throws -> Login {
        do {
            return try client.credential(mailbox, direction, host)
        } catch ServiceError.refused(_, let code, let message) {
            let kind =
                switch code {
                case "0x8004852E": MailboxProblem.keyRequired
                case "0x8005E228": MailboxProblem.notApproved
                default: MailboxProblem.noCredential
                }
            // The organization's key comes back without anybody's touching the mailbox.
            throw MailboxProblem(kind, message, code, isPermanent: kind != MailboxProblem.keyRequired)
        }
    }

    private func connect(_ login: Login, _ scheme: String, implicitPort: Int) throws -> CurlConnection {
        let server = "\(login.server):\(login.port)"
        // TLS from the first byte on the ports that are for it, STARTTLS elsewhere; without TLS only where the service lets it.
        let isImplicit = login.useSSL && (login.port == implicitPort || probesImplicitTLS(login))
        do {
            return try CurlConnection(timeout: mailbox.timeout) { handle in
                let host = login.server.contains(":") ? "[\(login.server)]" : login.server
                handle.set(CURLOPT_URL, "\(scheme)\(isImplicit ? "s" : "")://\(host):\(login.port)/")
                handle.set(CURLOPT_PROTOCOLS_STR, "imap,imaps,pop3,pop3s,smtp,smtps")
                handle.set(CURLOPT_USE_SSL, login.useSSL ? Int(CURLUSESSL_ALL.rawValue) : Int(CURLUSESSL_NONE.rawValue))
                if let file = configuration.mailAuthorityFile, FileManager.default.fileExists(atPath: file) {
                    handle.set(CURLOPT_CAINFO, file)
                }
                handle.set(CURLOPT_SASL_IR, 1)
                guard let user = login.userName, var secret = login.password.map({ Array($0.utf8) + [0] }) else { return }
                handle.set(CURLOPT_USERNAME, user)
                switch login.authenticationProtocol {
                case 2: handle.set(CURLOPT_LOGIN_OPTIONS, "AUTH=NTLM")
                case 4: handle.set(CURLOPT_LOGIN_OPTIONS, "AUTH=OAUTHBEARER;AUTH=XOAUTH2")
                default: break
                }
                secret.withUnsafeMutableBytes { bytes in
                    handle.set(
                        login.authenticationProtocol == 4 ? CURLOPT_XOAUTH2_BEARER : CURLOPT_PASSWORD,
                        bytes: UnsafeRawBufferPointer(bytes))
                    for index in bytes.indices { bytes[index] = 0 }
                }
            }
        } catch {
            throw MailboxProblem(error, server: server, what: "the mailbox \(mailbox.address)")
        }
    }

    /// Ports that a deployment chose itself tell nothing. A server that waits for TLS says nothing in the clear, so whoever greets within
    /// a moment speaks STARTTLS; no password is sent either way before there is TLS.
    private func probesImplicitTLS(_ login: Login) -> Bool {
        let known = [143, 110, 25, 587]
        guard !known.contains(login.port) else { return false }
        return !PlainGreeting.isGiven(by: login.server, login.port)
    }

    // MARK: Receiving

    private func receive(_ state: inout State, _ counts: inout Counts) throws {
        let login = try login("Incoming")
        let server = "\(login.server):\(login.port)"
        do {
            if login.serverType == 1 {
                try receivePOP3(login, &state, &counts)
            } else {
                try receiveIMAP(login, &state, &counts)
            }
        } catch let error as ServiceError {
            throw error
        } catch {
            throw MailboxProblem(error, server: server, what: "the mailbox \(mailbox.address)")
        }
    }

    private var receivedAfter: Date? { mailbox.processesReceivedAfter.flatMap { ISO8601DateFormatter().date(from: $0) } }

    private func receiveIMAP(_ login: Login, _ state: inout State, _ counts: inout Counts) throws {
        var session = IMAPSession(try connect(login, "imap", implicitPort: 993), limit: configuration.messageLimit)
        let folder = try session.open(writes: mailbox.deletesAfterProcessing)
        guard mailbox.receives else { return session.close() }
        // Other numbers for the same messages: what is there is looked at again, and what is a record stays one.
        if state.validity != folder.validity { state = State(validity: folder.validity, uid: 0) }
        let first = (state.uid ?? 0) + 1
        guard folder.next == 0 || first < folder.next else { return session.close() }
        let found = try session.list(from: first).prefix(configuration.turnLimit)
        var batch: [UInt32] = []
        var size = 0
        func isWanted(_ message: (uid: UInt32, size: Int, arrivedOn: Date?)) -> Bool {
            guard let after = receivedAfter, let date = message.arrivedOn else { return true }
            return date >= after
        }
        for (index, message) in found.enumerated() {
            if message.size > configuration.messageLimit {
                try fetch(batch, &session, &state, &counts)
                (batch, size) = ([], 0)
                counts.failed += 1
                log(.warning, "message too large", ["uid": "\(message.uid)", "bytes": "\(message.size)"])
                state.uid = message.uid
                continue
            }
            if isWanted(message) {
                batch.append(message.uid)
                size += message.size
            }
            if batch.count >= 100 || size >= 4 << 20 || index == found.count - 1 {
                try fetch(batch, &session, &state, &counts)
                (batch, size) = ([], 0)
                state.uid = message.uid
            }
            if isStopped() { break }
        }
        session.close()
    }

    private func fetch(_ uids: [UInt32], _ session: inout IMAPSession, _ state: inout State, _ counts: inout Counts) throws {
        guard !uids.isEmpty else { return }
        var done: [UInt32] = []
        try session.fetch(uids) { uid, bytes in
            try deliver(bytes, &counts)
            done.append(uid)
        }
        if mailbox.deletesAfterProcessing, !done.isEmpty { try session.delete(done) }
    }

    private func receivePOP3(_ login: Login, _ state: inout State, _ counts: inout Counts) throws {
        let session = POP3Session(try connect(login, "pop3", implicitPort: 995), limit: configuration.messageLimit)
        guard mailbox.receives else { return try session.close() }
        let there = try session.list()
        var known = Set(state.ids ?? [])
        known.formIntersection(there.map(\.id))
        var taken = 0
        for message in there where !known.contains(message.id) && taken < configuration.turnLimit && !isStopped() {
            taken += 1
            if message.size > configuration.messageLimit {
                counts.failed += 1
                log(.warning, "message too large", ["uidl": "\(message.id)", "bytes": "\(message.size)"])
            } else {
                try deliver(try session.fetch(message.number), &counts)
                if mailbox.deletesAfterProcessing { try session.delete(message.number) }
            }
            known.insert(message.id)
            state.ids = Array(known)
        }
        state.ids = Array(known)
        try session.close()
    }

    private func log(_ level: Logger.Level, _ text: Logger.Message, _ metadata: Logger.Metadata) {
        logger.log(level: level, text, metadata: metadata.merging(["mailbox": "\(mailbox.mailboxId)"]) { own, _ in own })
    }

    /// Hands one message to the service. A message that it can't take is passed over: one bad message must not hold up the others.
    private func deliver(_ bytes: [UInt8], _ counts: inout Counts) throws {
        let message = MailMessage(bytes, keepsMessages: mailbox.isForward)
        // A forward mailbox's messages carry those that they are about.
        let wrapped = mailbox.isForward ? message.messages : []
        guard wrapped.isEmpty else {
            for inner in wrapped { try deliverOne(inner, MailMessage(inner), &counts) }
            return
        }
        try deliverOne(bytes, message, &counts)
    }

    /// Bytes of an attachment that the service keeps, and of all of a message's.
    private static let attachmentLimit = 5_120 * 1_024
    private static let attachmentsLimit = 11 << 20

    private func deliverOne(_ bytes: [UInt8], _ message: MailMessage, _ counts: inout Counts) throws {
        var total = 0
        let kept = message.attachments.filter { attachment in
            guard attachment.bytes.count <= Self.attachmentLimit, total + attachment.bytes.count <= Self.attachmentsLimit else {
                return false
            }
            total += attachment.bytes.count
            return true
        }
        var body: [String: Parameter] = [
            "MailboxId": .text(mailbox.mailboxId), "HostId": .text(host), "MessageId": .text(message.messageID),
            "Subject": .text(message.subject),
            "From": .text(message.from), "To": .list(message.to.map(Parameter.text)), "Cc": .list(message.cc.map(Parameter.text)),
            "InReplyTo": .list(message.references.map(Parameter.text)), "Importance": .text(message.importance),
            "Body": .text(message.body),
            "BodyType": .text(message.isHTML ? "text/html" : "text/plain"),
            "Digest": .text(Data(SHA256.hash(data: bytes)).base64EncodedString()),
            "OmittedAttachments": .number(message.attachments.count - kept.count),
        ]
        if let date = message.date { body["ReceivedOn"] = .text(ISO8601DateFormatter().string(from: date)) }
        if !kept.isEmpty {
            body["Attachments"] = .list(
                kept.map { attachment in
                    .object([
                        "FileName": .text(attachment.name), "MimeType": .text(attachment.type),
                        "Body": .text(Data(attachment.bytes).base64EncodedString()),
                    ])
                })
        }
        do {
            var answer = Data()
            try persistently { answer = try client.call("emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", body) }
            let verdict = try RouterClient.decoder.decode(Verdict.self, from: answer)
            if verdict.shouldDeliver { counts.processed += 1 } else { counts.refused += 1 }
            log(
                .debug, "message",
                ["message-id": "\(message.messageID)", "reason": "\(verdict.reasonCode)", "email": "\(verdict.emailId ?? "none")"])
        } catch ServiceError.refused(let status, let code, let text)
            where (400..<500).contains(status) && status != 401 && status != 403
        {
            counts.failed += 1
            log(.warning, "message not taken", ["message-id": "\(message.messageID)", "code": "\(code)", "why": "\(text)"])
        }
    }

    private struct Verdict: Decodable {
        let shouldDeliver: Bool
        let reasonCode: Int
        let emailId: String?
    }

    // MARK: Sending

    private func send(_ counts: inout Counts) throws {
        if !mailbox.tests {
            // Nobody's password is asked for when there is nothing to send.
            var emails = try client.pending(mailbox, host, limit: 20)
            guard !emails.isEmpty else { return }
            let login: Login
            let session: SMTPSession
            do {
                login = try self.login("Outgoing")
                session = try signIn(login)
            } catch let problem as MailboxProblem {
                // None of these was handed over; they are pending again.
                for email in emails { try outcome(email, "Temporary", problem.text, problem.code) }
                throw problem
            }
            var taken = emails.count
            while !emails.isEmpty {
                for (index, email) in emails.enumerated() {
                    do {
                        try send(email, session, &counts)
                    } catch let error as CurlError {
                        let problem = MailboxProblem(error, server: "\(login.server):\(login.port)", what: "sending")
                        for rest in emails[index...] { try outcome(rest, "Temporary", problem.text, problem.code) }
                        throw problem
                    }
                }
                guard taken < configuration.turnLimit, !isStopped() else { break }
                emails = try client.pending(mailbox, host, limit: 20)
                taken += emails.count
            }
            session.close()
        } else {
            try signIn(try login("Outgoing")).close()
        }
    }

    private func signIn(_ login: Login) throws -> SMTPSession {
        let connection = try connect(login, "smtp", implicitPort: 465)
        do {
            return try SMTPSession(connection)
        } catch {
            throw MailboxProblem(error, server: "\(login.server):\(login.port)", what: "sending")
        }
    }

    private func send(_ email: PendingEmail, _ session: SMTPSession, _ counts: inout Counts) throws {
        let message = MessageComposer(email: email).bytes()
        var recipients: [String] = []
        for person in email.to + email.cc + email.bcc where !recipients.contains(person.address) {
            recipients.append(person.address)
        }
        let answer = try session.send(message, from: email.from.address, to: recipients) {
            // From here on a crash leaves it unknown whether it was sent, and the record has to say so first.
            try outcome(email, "HandingOver", "", 0)
        }
        switch answer {
        case .accepted:
            counts.sent += 1
            try outcome(email, "Sent", "", 0)
        case .refused(let isPermanent, let text):
            if isPermanent { counts.failed += 1 }
            try outcome(email, isPermanent ? "Permanent" : "Temporary", text, Self.code(text))
        case .unknown(let text):
            counts.failed += 1
            try outcome(email, "Unknown", text, MailboxProblem.unreachable)
            throw MailboxProblem(
                MailboxProblem.unreachable, "The mail server broke the connection while it took a message.", text,
                isPermanent: false)
        }
        log(.debug, "sent", ["email": "\(email.id)", "message-id": "\(email.messageID)", "answer": "\(answer.word)"])
    }

    private static func code(_ text: String) -> Int {
        if text.contains("552") || text.contains("5.3.4") { return MailboxProblem.tooLarge }
        if text.contains("452") || text.contains("5.2.2") || text.contains("4.2.2") { return MailboxProblem.mailboxFull }
        return MailboxProblem.refused
    }

    private func outcome(_ email: PendingEmail, _ outcome: String, _ reason: String, _ code: Int) throws {
        let body: [String: Parameter] = [
            "EmailId": .text(email.id), "MailboxId": .text(mailbox.mailboxId), "HostId": .text(host), "Outcome": .text(outcome),
            "Reason": .text(String(reason.prefix(2_000))), "Code": .number(code),
        ]
        // Whoever is about to hand over must not wait: the server waits for the bytes.
        if outcome == "HandingOver" {
            _ = try client.call("fieldseal.ReportEmail", body)
        } else {
            try persistently { _ = try client.call("fieldseal.ReportEmail", body) }
        }
    }
}

extension SMTPSession.Answer {
    fileprivate var word: String {
        switch self {
        case .accepted: "accepted"
        case .refused(let isPermanent, _): isPermanent ? "refused" : "deferred"
        case .unknown: "unknown"
        }
    }
}
