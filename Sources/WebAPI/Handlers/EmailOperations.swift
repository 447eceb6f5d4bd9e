import CellCrypto
import Email
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import RouterProtocol
import Tenancy

// Operations of e-mail: Dataverse's messages, and the messages of routers.
extension DataAPI {
    private var leases: MailboxLeases { get throws { try MailboxLeases(session, mail) } }
    private var delivery: EmailDelivery { get throws { try EmailDelivery(session) } }

    /// Responds to `fieldseal.NAME`, an operation of a router. Dataverse has no counterpart, because its router reads and writes
    /// the database's tables.
    func routerOperation(_ name: String, _ request: APIRequest) async throws -> APIResponse {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        let body = JSONValue.object(try request.members())
        func id(_ name: String) throws(FieldsealError) -> UUID {
            guard let id = body[name]?.string.flatMap(UUID.init(text:)) else { throw FieldsealError.misfit(name, "an id") }
            return id
        }
        // A caller without the right to this operation is refused before the body is checked. For a complete ReleaseCredential,
        // `MailboxLeases.releaseCredential` checks the right, because it also records a refusal as a security event.
        let isWhole = (try? id("MailboxId")) != nil && body["Direction"]?.string.flatMap(MailDirection.init) != nil
        if name == "DeliverIncomingEmails" {
            _ = try delivery
            try session.requireOwnName("A message of the router")
        } else if name != "ReleaseCredential" || !isWhole || body["HostId"]?.string == nil {
            _ = try leases
        }
        guard let host = body["HostId"]?.string, (1...160).contains(host.utf8.count) else {
            throw FieldsealError.misfit("HostId", "the router's name for this lease, of 1 to 160 bytes")
        }
        switch name {
        case "LeaseMailbox":
            let wanted = body["MailboxId"] == nil ? nil : try id("MailboxId")
            guard let lease = try await leases.leaseMailbox(host: host, mailbox: wanted) else { return APIResponse.noContent() }
            return try APIResponse.message(lease)
        case "WaitForWork": return try await waitForWork(body)
        case "ReportMailbox":
            let report = try Self.report(body)
            let mayWatch = try await leases.reportMailbox(try id("MailboxId"), host: host, report)
            return report.watcher == nil || report.revision == nil
                ? APIResponse.noContent() : try APIResponse.message(MailboxReport.Answer(mayWatch: mayWatch))
        case "ReleaseCredential":
            guard let direction = body["Direction"]?.string.flatMap(MailDirection.init) else {
                throw FieldsealError.misfit("Direction", "Incoming or Outgoing")
            }
            let credential = try await MailboxLeases.releaseCredential(
                try id("MailboxId"), direction, host: host, allowsPlaintext: limits.allowsPlaintextMail, for: session, mail)
            return try APIResponse.message(credential.login)
        case "TakePendingEmails":
            guard case .integer(let limit)? = body["Limit"], (1...100).contains(limit) else {
                throw FieldsealError.misfit("Limit", "1 to 100")
            }
            let emails = try await leases.takePendingEmails(try id("MailboxId"), host: host, limit: Int(limit))
            return try APIResponse.message(PendingEmails.Answer(value: emails))
        case "ReportEmails":
            try await leases.reportEmails(try Self.reports(body), mailbox: try id("MailboxId"), host: host)
            return APIResponse.noContent()
        case "KnownMessages":
            let request: KnownMessages.Request = try Self.message(
                body, "KnownMessages takes MailboxId, HostId and Ids (an array of texts).")
            let (known, total) = try await leases.knownMessages(
                try Self.uids(request.ids, "Ids"), mailbox: try id("MailboxId"), host: host)
            return try APIResponse.message(KnownMessages.Answer(value: known, total: total))
        case "NoteMessages":
            try await leases.noteMessages(try Self.notes(body), mailbox: try id("MailboxId"), host: host)
            return APIResponse.noContent()
        case "DeliverIncomingEmails": return try await deliver(body, mailbox: try id("MailboxId"), host: host)
        default: throw ODataPath.unknown(name)
        }
    }

    private func deliver(_ body: JSONValue, mailbox: UUID, host: String) async throws -> APIResponse {
        guard case .array(let values)? = body["Emails"], values.count <= IncomingDelivery.limit else {
            throw FieldsealError.misfit("Emails", "an array of at most \(IncomingDelivery.limit)")
        }
        let emails = try values.map { try IncomingEmailMembers.read($0, from: .router) }
        let results = try await delivery.deliverIncomingEmails(emails, mailbox: mailbox, host: host)
        return try APIResponse.message(
            IncomingDelivery.Answer(
                value: results.map { id, verdict in
                    .init(
                        shouldDeliver: verdict.isDelivered, reasonCode: verdict.reason.rawValue, emailId: id?.text,
                        isIncomplete: verdict.isIncomplete)
                }))
    }

    /// Responds when there is work for the router, or after the time that the router asked for.
    private func waitForWork(_ body: JSONValue) async throws -> APIResponse {
        let request: WaitForWork.Request = try Self.message(
            body, "WaitForWork takes HostId, Seconds, WantsWork, Watching (an array of MailboxId and Revision) and IsLeaving.")
        guard (0...RouterLimits.waitSeconds).contains(request.seconds) else {
            throw FieldsealError.misfit("Seconds", "0 to \(RouterLimits.waitSeconds)")
        }
        guard request.watching.count <= RouterLimits.watchedMailboxes,
            request.watching.allSatisfy({ UUID(text: $0.mailboxId) != nil })
        else { throw FieldsealError.misfit("Watching", "at most \(RouterLimits.watchedMailboxes) mailboxes, each with its id") }
        guard let pause else {
            throw FieldsealError(
                .badRequest, "WaitForWork can't be part of a batch, because it would delay the other requests. Send it alone.")
        }
        let leases = try leases
        let wait: @Sendable () async throws -> APIResponse = {
            try APIResponse.message(try await leases.waitForWork(request) { await pause.during($0) })
        }
        guard let peer else { return try await wait() }
        return try await peer.cancellingOnHangUp(wait)
    }

    /// Parses a message of a router.
    ///
    /// - Parameter takes: The expected form, for the error message.
    private static func message<Message: Decodable>(_ body: JSONValue, _ takes: String) throws(FieldsealError) -> Message {
        do {
            return try RouterCoding.decoder.decode(Message.self, from: Data(body.utf8))
        } catch {
            throw FieldsealError(.payloadDoesNotFit, takes)
        }
    }

    /// Requires that texts are valid ids of messages on a mail server.
    private static func uids(_ values: [String]?, _ name: String) throws(FieldsealError) -> [String] {
        let values = values ?? []
        guard values.count <= MailboxNotes.limit, values.allSatisfy({ isUID($0) }) else {
            throw FieldsealError.misfit(name, "an array of at most \(MailboxNotes.limit) texts of 1 to 100 characters")
        }
        return values
    }

    private static func isUID(_ text: String?) -> Bool {
        text.map { (1...100).contains($0.unicodeScalars.count) && !$0.unicodeScalars.contains { $0.value < 0x20 } } ?? false
    }

    private static func notes(_ body: JSONValue) throws(FieldsealError) -> MailboxNotes {
        var notes: MailboxNotes = try message(
            body,
            "NoteMessages takes MailboxId, HostId, Seen, Settled, SetAside (an array of Uid, Name, MessageId and Reason) and ForgetsSeen."
        )
        notes.seen = try uids(notes.seen, "Seen")
        notes.settled = try uids(notes.settled, "Settled")
        _ = try uids(notes.setAside?.map(\.uid), "SetAside")
        notes.setAside = notes.setAside?.map {
            .init(
                uid: $0.uid, name: String(($0.name ?? $0.uid).prefix(200)), messageId: $0.messageId.map { String($0.prefix(320)) },
                reason: String(($0.reason ?? "").prefix(500)))
        }
        return notes
    }

    private static func reports(_ body: JSONValue) throws(FieldsealError) -> [MailboxLeases.EmailReport] {
        let outcomes = SendingReport.Outcome.allCases.map(\.rawValue).joined(separator: ", ")
        let request: SendingReport.Request = try message(
            body,
            "ReportEmails takes MailboxId, HostId and Reports, an array of EmailId, Outcome (one of \(outcomes)), Reason and Code.")
        guard (1...SendingReport.Request.limit).contains(request.reports.count) else {
            throw FieldsealError.misfit("Reports", "an array of 1 to \(SendingReport.Request.limit)")
        }
        var reports: [MailboxLeases.EmailReport] = []
        for report in request.reports {
            guard let email = UUID(text: report.emailId) else { throw FieldsealError.misfit("EmailId", "an id") }
            reports.append((email, report))
        }
        return reports
    }

    private static func report(_ body: JSONValue) throws(FieldsealError) -> MailboxReport {
        let report: MailboxReport = try message(
            body,
            "ReportMailbox takes MailboxId, HostId, RouterState, Processed, Failed, Interval, IncomingIsWell, OutgoingIsWell, Tests, Watcher, "
                + "Revision, and Error and Alerts (Code, Text, Details and IsPermanent).")
        guard (report.routerState?.utf8.count ?? 0) <= MailboxReport.stateLimit else {
            throw FieldsealError.misfit("RouterState", "at most \(MailboxReport.stateLimit >> 10) KiB")
        }
        guard (report.alerts?.count ?? 0) <= MailboxReport.alertLimit else {
            throw FieldsealError.misfit("Alerts", "an array of at most \(MailboxReport.alertLimit)")
        }
        guard report.watcher.map({ (1...160).contains($0.utf8.count) }) ?? true else {
            throw FieldsealError.misfit("Watcher", "the router's name, of 1 to 160 bytes")
        }
        return report
    }

    /// Responds to `CheckIncomingEmail` and `DeliverIncomingEmail`, which are bound to the collection of e-mails.
    func incomingEmail(_ name: String, _ request: APIRequest) async throws -> APIResponse {
        guard request.method == .post else { throw MethodNotAllowed(.post) }
        let delivery = try delivery
        let body = JSONValue.object(try Self.original(of: name, try request.members()))
        let email = try IncomingEmailMembers.read(body, from: .client)
        let mailbox = try mailbox(body)
        let host = try host(body)
        let context = representation(request).context("Microsoft.Dynamics.CRM.\(name)Response")
        func answer(_ id: UUID?, _ verdict: IncomingVerdict) -> APIResponse {
            var members = [
                context, JSONValue.Member("ShouldDeliver", .bool(verdict.isDelivered)),
                .init("ReasonCode", .integer(Int64(verdict.reason.rawValue))),
            ]
            if name == "DeliverIncomingEmail" { members.append(.init("EmailId", .text(id?.text))) }
            return APIResponse.json(.object(members))
        }
        if name == "CheckIncomingEmail" {
            return answer(nil, try await delivery.checkIncomingEmail(email, mailbox: mailbox, host: host))
        }
        let (id, verdict) = try await delivery.deliverIncomingEmail(email, mailbox: mailbox, host: host)
        return answer(id, verdict)
    }

    /// Removes `ValidateBeforeCreate` and `ExtraProperties`, two parameters of Dataverse's `DeliverIncomingEmail`. Only values
    /// without an effect are accepted, because the service always checks an e-mail before the e-mail becomes a record.
    private static func original(of message: String, _ members: [JSONValue.Member]) throws(FieldsealError) -> [JSONValue.Member] {
        guard message == "DeliverIncomingEmail" else { return members }
        var others: [JSONValue.Member] = []
        for member in members {
            switch (member.name, member.value) {
            case ("ValidateBeforeCreate", .null), ("ValidateBeforeCreate", .bool(true)), ("ExtraProperties", .null): continue
            case ("ValidateBeforeCreate", _):
                throw FieldsealError.misfit("ValidateBeforeCreate", "true: every e-mail is checked before it becomes a record")
            case ("ExtraProperties", _):
                throw FieldsealError.misfit("ExtraProperties", "null: it is for Dataverse's own use")
            default: others.append(member)
            }
        }
        return others
    }

    private func host(_ body: JSONValue) throws(FieldsealError) -> String? {
        switch body["HostId"] {
        case nil, .null?: return nil
        case .string(let text)? where (1...160).contains(text.utf8.count): return text
        default: throw FieldsealError.misfit("HostId", "the router's name for this lease, of 1 to 160 bytes")
        }
    }

    private func mailbox(_ body: JSONValue) throws(FieldsealError) -> UUID? {
        switch body["MailboxId"] {
        case nil, .null?: return nil
        case .string(let text)?:
            if let id = UUID(text: text) { return id }
        default: break
        }
        throw FieldsealError.misfit("MailboxId", "an id")
    }

    /// The write of `SendEmail`, which is bound to an e-mail.
    func sending(_ id: UUID, _ request: APIRequest) throws -> Change {
        let body = JSONValue.object(try request.members())
        try Self.require(["IssueSend", "TrackingToken"], in: body, of: "SendEmail")
        // `IssueSend` has no default. An SDK sends false if its caller did not set it, and an e-mail that was sent can't be
        // recalled.
        guard case .bool(let issue)? = body["IssueSend"] else {
            throw FieldsealError.misfit("IssueSend", "true or false")
        }
        let token = body["TrackingToken"]?.string
        guard TrackingToken.isUsable(token ?? ""), token != nil || [nil, .null].contains(body["TrackingToken"]) else {
            throw FieldsealError.misfit("TrackingToken", TrackingToken.form)
        }
        let context = representation(request).context("Microsoft.Dynamics.CRM.SendEmailResponse")
        return Change([.message(.email, id, .sendEmail(issue: issue, token: token))], address: serviceRoot + request.path) {
            APIResponse.json(.object([context, .init("Subject", .text($0[0].subject))]))
        }
    }
}

extension APIResponse {
    /// A response to a router. Responses to routers are never cached.
    fileprivate static func message(_ value: some Encodable) throws -> APIResponse {
        .json(Array(try RouterCoding.encoder.encode(value)), headers: [.cacheControl: "no-store"])
    }
}

extension Credential {
    /// The JSON form that the router receives.
    fileprivate var login: MailLogin {
        MailLogin(
            userName: userName, password: password?.withBytes { String(decoding: $0, as: UTF8.self) }, server: server, port: port,
            useSSL: usesTLS, authenticationProtocol: authentication, serverType: serverType)
    }
}
