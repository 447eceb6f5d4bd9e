import CellCrypto
import Email
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import RouterProtocol

// E-mail: the original's messages, and those that a router works with.
extension DataAPI {
    private var leases: MailboxLeases { get throws { try MailboxLeases(session, mail) } }
    private var delivery: EmailDelivery { get throws { try EmailDelivery(session) } }

    /// `fieldseal.NAME`: what a router asks for. Additions to the original, which has its router read and write the database's tables.
    func routerOperation(_ name: String, _ request: APIRequest) async throws -> APIAnswer {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        let body = JSONValue.object(try request.members())
        func id(_ name: String) throws(FieldsealError) -> UUID {
            guard let id = body[name]?.string.flatMap(UUID.init(text:)) else { throw Self.missing(name, "an id") }
            return id
        }
        guard let host = body["HostId"]?.string, (1...160).contains(host.utf8.count) else {
            throw Self.missing("HostId", "the router's name for this lease, of 1 to 160 bytes")
        }
        switch name {
        case "LeaseMailbox":
            let wanted = body["MailboxId"] == nil ? nil : try id("MailboxId")
            guard let lease = try await leases.leaseMailbox(host: host, mailbox: wanted) else { return APIAnswer.noContent() }
            return try APIAnswer.message(lease)
        case "WaitForWork": return try await waitForWork(body)
        case "ReportMailbox":
            let report = try Self.report(body)
            let mayWatch = try await leases.reportMailbox(try id("MailboxId"), host: host, report)
            return report.watch == nil ? APIAnswer.noContent() : try APIAnswer.message(MailboxReportAnswer(mayWatch: mayWatch))
        case "ReleaseCredential":
            guard let direction = body["Direction"]?.string.flatMap(MailDirection.init) else {
                throw Self.missing("Direction", "Incoming or Outgoing")
            }
            let credential = try await MailboxLeases.releaseCredential(
                try id("MailboxId"), direction, host: host, allowsPlaintext: limits.allowsPlaintextMail, for: session, mail)
            return APIAnswer.json(credential.json, headers: [.cacheControl: "no-store"])
        case "TakePendingEmails":
            guard case .integer(let limit)? = body["Limit"], (1...100).contains(limit) else {
                throw Self.missing("Limit", "1 to 100")
            }
            let emails = try await leases.takePendingEmails(try id("MailboxId"), host: host, limit: Int(limit))
            return APIAnswer.json(["value": .array(emails.map(\.json))])
        case "ReportEmails":
            try await leases.reportEmails(try Self.reports(body), mailbox: try id("MailboxId"), host: host)
            return APIAnswer.noContent()
        case "KnownMessages":
            let (known, total) = try await leases.knownMessages(
                try Self.uids(body, "Ids"), mailbox: try id("MailboxId"), host: host)
            return APIAnswer.json(["value": .array(known.map { .string($0) }), "Total": .integer(Int64(total))])
        case "NoteMessages":
            try await leases.noteMessages(try Self.notes(body), mailbox: try id("MailboxId"), host: host)
            return APIAnswer.noContent()
        case "DeliverIncomingEmails": return try await deliver(body, mailbox: try id("MailboxId"), host: host)
        default: throw ODataPath.unknown(name)
        }
    }

    private func deliver(_ body: JSONValue, mailbox: UUID, host: String) async throws -> APIAnswer {
        guard case .array(let values)? = body["Emails"], values.count <= 100 else {
            throw Self.missing("Emails", "an array of at most 100")
        }
        let emails = try values.map { try Self.incoming($0) }
        let results = try await delivery.deliverIncomingEmails(emails, mailbox: mailbox, host: host)
        return APIAnswer.json([
            "value": .array(
                results.map { id, verdict in
                    [
                        "ShouldDeliver": .bool(verdict.isDelivered), "ReasonCode": .integer(Int64(verdict.reason.rawValue)),
                        "EmailId": .text(id?.text),
                    ]
                })
        ])
    }

    /// Answers when the router has something to do, or after a while.
    private func waitForWork(_ body: JSONValue) async throws -> APIAnswer {
        let request: WaitForWork.Request
        do {
            request = try RouterCoding.decoder.decode(WaitForWork.Request.self, from: Data(body.utf8))
        } catch {
            throw FieldsealError(
                .payloadDoesNotFit,
                "WaitForWork takes HostId, Seconds, WantsWork, Watching (an array of MailboxId and Revision) and IsLeaving.")
        }
        guard (0...RouterLimits.waitSeconds).contains(request.seconds) else {
            throw Self.missing("Seconds", "0 to \(RouterLimits.waitSeconds)")
        }
        guard request.watching.count <= RouterLimits.watchedMailboxes,
            request.watching.allSatisfy({ UUID(text: $0.mailboxId) != nil })
        else { throw Self.missing("Watching", "at most \(RouterLimits.watchedMailboxes) mailboxes, each with its id") }
        guard let pause else {
            throw FieldsealError(.badRequest, "WaitForWork can't be a part of a batch, which it would hold up. Send it alone.")
        }
        let leases = try leases
        let wait: @Sendable () async throws -> APIAnswer = {
            try APIAnswer.message(try await leases.waitForWork(request) { await pause.during($0) })
        }
        guard let peer else { return try await wait() }
        return try await peer.cancellingOnHangUp(wait)
    }

    private static func missing(_ name: String, _ what: String) -> FieldsealError {
        FieldsealError(.payloadDoesNotFit, "\(name) is missing, or not what it takes: \(what).")
    }

    private static func uids(_ body: JSONValue, _ name: String) throws(FieldsealError) -> [String] {
        guard let value = body[name], value != .null else { return [] }
        guard case .array(let values) = value, values.count <= 5_000, values.allSatisfy({ isUID($0.string) }) else {
            throw missing(name, "an array of at most 5,000 texts of 1 to 100 characters")
        }
        return values.compactMap(\.string)
    }

    private static func isUID(_ text: String?) -> Bool {
        text.map { (1...100).contains($0.unicodeScalars.count) && !$0.unicodeScalars.contains { $0.value < 0x20 } } ?? false
    }

    private static func notes(_ body: JSONValue) throws(FieldsealError) -> MailboxNotes {
        var notes = MailboxNotes()
        notes.seen = try uids(body, "Seen")
        notes.settled = try uids(body, "Settled")
        notes.forgetsSeen = body["ForgetsSeen"] == .bool(true)
        guard case .array(let values)? = body["SetAside"] ?? .array([]), values.count <= 5_000 else {
            throw missing("SetAside", "an array of at most 5,000")
        }
        for value in values {
            guard let uid = value["Uid"]?.string, isUID(uid) else { throw missing("SetAside", "Uid, Name, MessageId and Reason") }
            notes.setAside.append(
                .init(
                    uid: uid, name: String((value["Name"]?.string ?? uid).prefix(200)),
                    messageID: String((value["MessageId"]?.string ?? "").prefix(320)),
                    reason: String((value["Reason"]?.string ?? "").prefix(500))))
        }
        return notes
    }

    private static func reports(_ body: JSONValue) throws(FieldsealError) -> [SendingReport] {
        guard case .array(let values)? = body["Reports"], (1...100).contains(values.count) else {
            throw missing("Reports", "an array of 1 to 100")
        }
        var reports: [SendingReport] = []
        for value in values {
            guard let email = value["EmailId"]?.string.flatMap(UUID.init(text:)),
                let outcome = value["Outcome"]?.string.flatMap(SendingOutcome.init)
            else { throw missing("Reports", "EmailId, and Outcome: HandingOver, Sent, Temporary, Permanent or Unknown") }
            reports.append(
                .init(email: email, outcome: outcome, reason: value["Reason"]?.string ?? "", code: value["Code"]?.int ?? 0))
        }
        return reports
    }

    private static func report(_ body: JSONValue) throws(FieldsealError) -> MailboxReport {
        var report = MailboxReport()
        report.routerState = body["RouterState"]?.string
        guard (report.routerState?.utf8.count ?? 0) <= 1 << 19 else { throw missing("RouterState", "at most 512 KiB") }
        report.processed = body["Processed"]?.int ?? 0
        report.failed = body["Failed"]?.int ?? 0
        report.interval = min(max(body["Interval"]?.int ?? 300, 0), 86_400)
        if case .bool(let isWell)? = body["IncomingIsWell"] { report.isIncomingWell = isWell }
        if case .bool(let isWell)? = body["OutgoingIsWell"] { report.isOutgoingWell = isWell }
        func problem(_ value: JSONValue) -> MailboxReport.Problem? {
            guard let text = value["Text"]?.string else { return nil }
            return .init(
                code: value["Code"]?.int ?? 0, text: text, details: value["Details"]?.string ?? "",
                isPermanent: value["IsPermanent"] == .bool(true))
        }
        report.error = body["Error"].flatMap(problem)
        report.endsTest = body["Tests"] != .bool(false)
        if let router = body["Watcher"]?.string, let revision = body["Revision"]?.string {
            guard (1...160).contains(router.utf8.count) else { throw missing("Watcher", "the router's name, of 1 to 160 bytes") }
            report.watch = (router, revision)
        }
        if case .array(let values)? = body["Alerts"] { report.alerts = values.prefix(1_000).compactMap(problem) }
        return report
    }

    /// `CheckIncomingEmail` and `DeliverIncomingEmail`, bound to the collection of e-mails.
    func incomingEmail(_ name: String, _ request: APIRequest) async throws -> APIAnswer {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        let body = JSONValue.object(try request.members())
        let email = try Self.incoming(body)
        let mailbox = body["MailboxId"]?.string.flatMap(UUID.init(text:))
        let context = representation(request).context("Microsoft.Dynamics.CRM.\(name)Response")
        func answer(_ id: UUID?, _ verdict: IncomingVerdict) -> APIAnswer {
            var members = [
                context, JSONValue.Member("ShouldDeliver", .bool(verdict.isDelivered)),
                .init("ReasonCode", .integer(Int64(verdict.reason.rawValue))),
            ]
            if name == "DeliverIncomingEmail" { members.append(.init("EmailId", .text(id?.text))) }
            return APIAnswer.json(.object(members))
        }
        if name == "CheckIncomingEmail" { return answer(nil, try await delivery.checkIncomingEmail(email, mailbox: mailbox)) }
        let (id, verdict) = try await delivery.deliverIncomingEmail(email, mailbox: mailbox, host: body["HostId"]?.string)
        return answer(id, verdict)
    }

    private static func incoming(_ body: JSONValue) throws(FieldsealError) -> IncomingEmail {
        func addresses(_ name: String) throws(FieldsealError) -> [String] {
            switch body[name] {
            case .string(let text)?:
                return text.split { ";,".contains($0) }.map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
            case .array(let values)? where values.count <= 10_000: return values.compactMap(\.string)
            case nil, .null?: return []
            default: throw missing(name, "addresses with ; between them, or an array of at most 10,000")
            }
        }
        var email = IncomingEmail()
        email.subject = body["Subject"]?.string ?? ""
        guard let from = body["From"]?.string else { throw missing("From", "an address") }
        email.from = from
        email.to = try addresses("To")
        email.cc = try addresses("Cc")
        email.bcc = try addresses("Bcc")
        email.messageID = body["MessageId"]?.string ?? ""
        email.inReplyTo = try addresses("InReplyTo")
        email.references = Array(try addresses("References").prefix(100))
        email.receivedOn = body["ReceivedOn"]?.string.flatMap { ISO8601.date($0) }
        email.importance = ["Low": 0, "High": 2][body["Importance"]?.string ?? ""] ?? 1
        email.body = body["Body"]?.string ?? ""
        email.bodyType = body["BodyType"]?.string == "text/html" ? "text/html" : "text/plain"
        email.omittedAttachments = body["OmittedAttachments"]?.int ?? 0
        email.bodyIsCut = body["BodyIsCut"] == .bool(true)
        if case .array(let attachments)? = body["Attachments"] {
            for attachment in attachments {
                guard let content = attachment["Body"]?.string, Data(base64Encoded: content) != nil else {
                    throw missing("Attachments", "an array of FileName, MimeType and Body, which is base64")
                }
                email.attachments.append(
                    .init(
                        name: attachment["FileName"]?.string ?? "attachment",
                        type: attachment["MimeType"]?.string ?? "application/octet-stream", body: content,
                        note: attachment["Note"]?.string))
            }
        }
        if let digest = body["Digest"]?.string {
            guard let bytes = Data(base64Encoded: digest), bytes.count == 32 else {
                throw missing("Digest", "SHA-256 of the message, in base64")
            }
            email.digest = Array(bytes)
        } else {
            // Without the message's bytes, its words stand for it.
            email.digest = email.wordsDigest
        }
        return email
    }

    /// `SendEmail`, bound to an e-mail.
    func sending(_ id: UUID, _ request: APIRequest) throws -> Change {
        let body = JSONValue.object(try request.members())
        try Self.require(["IssueSend", "TrackingToken"], in: body, of: "SendEmail")
        guard case .bool(let issue)? = body["IssueSend"] ?? .bool(true) else { throw Self.missing("IssueSend", "true or false") }
        let token = body["TrackingToken"]?.string
        guard (token?.utf16.count ?? 0) <= 50 else { throw Self.missing("TrackingToken", "at most 50 characters") }
        let context = representation(request).context("Microsoft.Dynamics.CRM.SendEmailResponse")
        return Change([.message(.email, id, .sendEmail(issue: issue, token: token))], address: serviceRoot + request.path) {
            APIAnswer.json(.object([context, .init("Subject", .text($0[0].subject))]))
        }
    }
}

extension JSONValue {
    fileprivate var int: Int? { if case .integer(let number) = self { Int(exactly: number) } else { nil } }
}

extension APIAnswer {
    /// A message between the service and its routers.
    fileprivate static func message(_ value: some Encodable) throws -> APIAnswer {
        .json(Array(try RouterCoding.encoder.encode(value)), headers: [.cacheControl: "no-store"])
    }
}

extension Credential {
    fileprivate var json: JSONValue {
        [
            "UserName": .text(userName), "Password": .text(password?.withBytes { String(decoding: $0, as: UTF8.self) }),
            "Server": .string(server),
            "Port": .integer(Int64(port)),
            "UseSSL": .bool(usesTLS), "AuthenticationProtocol": .integer(Int64(authentication)),
            "ServerType": .integer(Int64(serverType)),
        ]
    }
}

extension OutgoingEmail {
    fileprivate var json: JSONValue {
        func people(_ list: [(name: String, address: String)]) -> JSONValue {
            .array(list.map { ["Name": .string($0.name), "Address": .string($0.address)] })
        }
        return [
            "EmailId": .string(id.text), "Subject": .string(subject), "Body": .string(body), "MessageId": .string(messageID),
            "InReplyTo": .text(inReplyTo), "References": .array(references.map { .string($0) }), "BodyType": .text(bodyType),
            "Priority": .integer(Int64(priority)), "CreatedOn": .string(ISO8601.text(createdOn)),
            "ReadReceiptRequested": .bool(wantsReceipt), "From": people([from]), "To": people(to), "Cc": people(cc),
            "Bcc": people(bcc),
            "Attachments": .array(
                attachments.map { ["FileName": .string($0.name), "MimeType": .string($0.type), "Body": .string($0.body)] }),
        ]
    }
}
