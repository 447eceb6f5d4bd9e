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

    struct Counts {
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
        report["Interval"] = .number(
            counts.processed + counts.refused + counts.sent >= configuration.turnLimit ? 0 : configuration.interval)
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
    func persistently(_ body: () throws -> Void) throws {
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

    func login(_ direction: String) throws -> Login {
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

    func connect(_ login: Login, _ scheme: String, implicitPort: Int) throws -> CurlConnection {
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

    private var receivedAfter: Date? { mailbox.processesReceivedAfter.flatMap { try? Date($0, strategy: .iso8601) } }

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
        var delivery = Delivery()
        try session.fetch(uids) { uid, bytes in
            try deliver(bytes, &delivery, &counts)
            done.append(uid)
        }
        try hand(&delivery, &counts)
        if mailbox.deletesAfterProcessing, !done.isEmpty { try session.delete(done) }
    }

    private func receivePOP3(_ login: Login, _ state: inout State, _ counts: inout Counts) throws {
        let session = POP3Session(try connect(login, "pop3", implicitPort: 995), limit: configuration.messageLimit)
        guard mailbox.receives else { return try session.close() }
        let there = try session.list()
        var known = Set(state.ids ?? [])
        known.formIntersection(there.map(\.id))
        var taken = 0
        var delivery = Delivery()
        var done: [(number: Int, id: String)] = []
        // What was handed to the service is looked at, and gone from the server if it is to be.
        func settle() throws {
            try hand(&delivery, &counts)
            for message in done {
                if mailbox.deletesAfterProcessing { try session.delete(message.number) }
                known.insert(message.id)
            }
            done = []
            state.ids = Array(known)
        }
        for message in there where !known.contains(message.id) && taken < configuration.turnLimit && !isStopped() {
            taken += 1
            if message.size > configuration.messageLimit {
                counts.failed += 1
                log(.warning, "message too large", ["uidl": "\(message.id)", "bytes": "\(message.size)"])
            } else {
                try deliver(try session.fetch(message.number), &delivery, &counts)
            }
            done.append((message.number, message.id))
            if delivery.isFull || done.count >= 100 { try settle() }
        }
        try settle()
        try session.close()
    }

    func log(_ level: Logger.Level, _ text: Logger.Message, _ metadata: Logger.Metadata) {
        logger.log(level: level, text, metadata: metadata.merging(["mailbox": "\(mailbox.mailboxId)"]) { own, _ in own })
    }

    /// Messages on their way to the service, several in one request.
    private struct Delivery {
        var emails: [(id: String, parameters: [String: Parameter])] = []
        var size = 0
        var isFull: Bool { emails.count >= 50 || size >= 2 << 20 }
    }

    private func deliver(_ bytes: [UInt8], _ delivery: inout Delivery, _ counts: inout Counts) throws {
        let message = MailMessage(bytes, keepsMessages: mailbox.isForward)
        // A forward mailbox's messages carry those that they are about.
        let wrapped = mailbox.isForward ? message.messages : []
        for (bytes, message) in wrapped.isEmpty ? [(bytes, message)] : wrapped.map({ ($0, MailMessage($0)) }) {
            let email = parameters(of: message, bytes)
            delivery.emails.append((message.messageID, email.parameters))
            delivery.size += email.size
            if delivery.isFull { try hand(&delivery, &counts) }
        }
    }

    /// Bytes of an attachment that the service keeps, and of all of a message's.
    private static let attachmentLimit = 5_120 * 1_024
    private static let attachmentsLimit = 8 << 20

    private func parameters(of message: MailMessage, _ bytes: [UInt8]) -> (parameters: [String: Parameter], size: Int) {
        var total = 0
        let kept = message.attachments.filter { attachment in
            guard attachment.bytes.count <= Self.attachmentLimit, total + attachment.bytes.count <= Self.attachmentsLimit else {
                return false
            }
            total += attachment.bytes.count
            return true
        }
        // A longer text is cut by the service too, and says so.
        let body =
            message.body.utf8.count <= 2 << 20 ? message.body : String(decoding: message.body.utf8.prefix(2 << 20), as: UTF8.self)
        var parameters: [String: Parameter] = [
            "MessageId": .text(message.messageID), "Subject": .text(String(message.subject.prefix(1_000))),
            "From": .text(message.from),
            "To": .list(message.to.map(Parameter.text)), "Cc": .list(message.cc.map(Parameter.text)),
            "InReplyTo": .list(message.references.map(Parameter.text)), "Importance": .text(message.importance),
            "Body": .text(body),
            "BodyType": .text(message.isHTML ? "text/html" : "text/plain"),
            "Digest": .text(Data(SHA256.hash(data: bytes)).base64EncodedString()),
            "OmittedAttachments": .number(message.attachments.count - kept.count),
            "BodyIsCut": .flag(body.utf8.count < message.body.utf8.count),
        ]
        if let date = message.date { parameters["ReceivedOn"] = .text(date.ISO8601Format()) }
        if !kept.isEmpty {
            parameters["Attachments"] = .list(
                kept.map { attachment in
                    .object([
                        "FileName": .text(attachment.name), "MimeType": .text(attachment.type),
                        "Body": .text(Data(attachment.bytes).base64EncodedString()),
                    ])
                })
        }
        return (parameters, total * 4 / 3 + body.utf8.count + (message.to.count + message.cc.count) * 50 + 2_000)
    }

    /// Hands messages to the service. One that it can't take is passed over: a bad message must not hold up the others.
    private func hand(_ delivery: inout Delivery, _ counts: inout Counts) throws {
        let emails = delivery.emails
        delivery = Delivery()
        guard !emails.isEmpty else { return }
        do {
            let body: [String: Parameter] = [
                "MailboxId": .text(mailbox.mailboxId), "HostId": .text(host),
                "Emails": .list(emails.map { .object($0.parameters) }),
            ]
            var answer = Data()
            try persistently { answer = try client.call("fieldseal.DeliverIncomingEmails", body) }
            for (email, verdict) in zip(emails, try RouterClient.decoder.decode(Verdicts.self, from: answer).value) {
                if verdict.shouldDeliver { counts.processed += 1 } else { counts.refused += 1 }
                log(
                    .debug, "message",
                    ["message-id": "\(email.id)", "reason": "\(verdict.reasonCode)", "email": "\(verdict.emailId ?? "none")"])
            }
        } catch ServiceError.refused(let status, let code, let text)
            where (400..<500).contains(status) && status != 401 && status != 403
        {
            guard emails.count > 1 else {
                counts.failed += 1
                log(.warning, "message not taken", ["message-id": "\(emails[0].id)", "code": "\(code)", "why": "\(text)"])
                return
            }
            for email in emails {
                var one = Delivery(emails: [email])
                try hand(&one, &counts)
            }
        }
    }

    private struct Verdicts: Decodable {
        let value: [Verdict]
    }

    private struct Verdict: Decodable {
        let shouldDeliver: Bool
        let reasonCode: Int
        let emailId: String?
    }
}
