import CurlClient
import Foundation
import RouterProtocol

/// A client of the Web API for one worker of a router: one connection, one request at a time.
final class RouterClient {
    private let configuration: RouterConfiguration
    private let handle: CurlHandle
    private var token: (text: String, goodUntil: Date)?
    private let isCancelled: (@Sendable () -> Bool)?
    /// The trace id of the turn, which the service and the router log (W3C Trace Context).
    private(set) var traceID = RouterClient.newTraceID

    private static var newTraceID: String { digits(16) }

    /// Random bytes in hexadecimal digits.
    private static func digits(_ count: Int) -> String {
        (0..<count).map { _ in String(format: "%02x", UInt8.random(in: 1...255)) }.joined()
    }

    /// - Parameter isCancelled: Called about once a second. When `isCancelled` returns true, the current request is ended.
    init(_ configuration: RouterConfiguration, isCancelled: (@Sendable () -> Bool)? = nil) throws {
        self.configuration = configuration
        self.isCancelled = isCancelled
        handle = try CurlHandle()
    }

    private struct Token: Decodable {
        let text: String
        let seconds: Double

        enum CodingKeys: String, CodingKey {
            case text = "access_token"
            case seconds = "expires_in"
        }
    }

    /// A refusal of the token endpoint (RFC 6749 section 5.2).
    private struct TokenFailure: Decodable {
        let code: String
        let message: String

        private enum CodingKeys: String, CodingKey {
            case code = "error"
            case message = "error_description"
        }
    }

    private struct Failure: Decodable {
        struct Detail: Decodable {
            let code: String
            let message: String
        }
        let error: Detail
    }

    /// The time limit of a request in seconds.
    private static let patience = 60

    private func send(
        _ path: String, _ headers: [String], _ body: [UInt8], patience: Int = RouterClient.patience
    ) throws -> HTTPSRequest.Answer {
        var request = HTTPSRequest("\(configuration.service)/\(configuration.organization)/\(path)")
        request.method = "POST"
        request.headers = headers + ["traceparent: 00-\(traceID)-\(Self.digits(8))-01"]
        request.body = body
        request.authorityFile = configuration.serviceAuthorityFile
        request.timeout = patience
        request.isCancelled = isCancelled
        request.limit = 256 << 20
        do {
            return try request.perform(on: handle)
        } catch {
            throw ServiceError.away(error.reason)
        }
    }

    private func bearer() throws -> String {
        if let token, token.goodUntil > Date() { return token.text }
        let form = "grant_type=client_credentials&client_id=\(configuration.clientID)&client_secret=\(configuration.secret)"
        let answer = try send("oauth2/v2.0/token", ["Content-Type: application/x-www-form-urlencoded"], Array(form.utf8))
        guard answer.status == 200, let new = try? JSONDecoder().decode(Token.self, from: Data(answer.body)) else {
            throw tokenError(answer)
        }
        token = (new.text, Date().addingTimeInterval(new.seconds - 60))
        return new.text
    }

    private func tokenError(_ answer: HTTPSRequest.Answer) -> ServiceError {
        let status = answer.status
        // The organization is suspended, or the service refuses it for another reason. The client's credentials are not the cause.
        if status == 403, let failure = try? JSONDecoder().decode(TokenFailure.self, from: Data(answer.body)) {
            return .refused(status: status, code: failure.code, message: failure.message)
        }
        return switch status {
        case 500..., 429: .away("status \(status)")
        case 404:
            .refused(
                status: status, code: "token",
                message:
                    "there is no organization \(configuration.organization) at \(configuration.service); check --org and --service")
        case 400, 401, 403:
            .refused(status: status, code: "token", message: "the router's client id or secret is not accepted")
        default:
            .refused(
                status: status, code: "token",
                message: "\(configuration.service) does not respond like a token endpoint; check --service")
        }
    }

    /// Sends an action. The type of `message` is declared in RouterProtocol.
    ///
    /// - Returns: The response's body; empty for none.
    /// - Throws: ``ServiceError``.
    private func call(_ path: String, _ message: some Encodable) throws -> Data {
        try call(path, Array(try RouterCoding.encoder.encode(message)), patience: Self.patience)
    }

    private func call(_ path: String, _ bytes: [UInt8], patience: Int) throws -> Data {
        for attempt in 0..<2 {
            let answer = try send(
                "api/data/v9.2/\(path)", ["Content-Type: application/json", "Authorization: Bearer \(try bearer())"], bytes,
                patience: patience)
            switch answer.status {
            case 200..<300: return Data(answer.body)
            case 401 where attempt == 0: token = nil
            case 429, 502, 503, 504: throw ServiceError.away("status \(answer.status)")
            default:
                let failure = try? JSONDecoder().decode(Failure.self, from: Data(answer.body)).error
                let code = failure.flatMap { ServiceCode(rawValue: $0.code) }
                if code == .concurrencyVersionMismatch { throw ServiceError.leaseLost }
                // The service lost its database connection during a commit. The action is repeated, and the response then says what
                // was stored.
                if code == .outcomeUnknown { throw ServiceError.away("the service does not know whether the change was saved") }
                throw ServiceError.refused(
                    status: answer.status, code: failure?.code ?? "", message: failure?.message ?? "status \(answer.status)")
            }
        }
        throw ServiceError.refused(status: 401, code: "", message: "the service does not accept the router's token")
    }

    /// Waits until the service has work, or the request's time is over.
    func wait(_ request: WaitForWork.Request) throws -> WaitForWork.Answer {
        let bytes = Array(try RouterCoding.encoder.encode(request))
        let data = try call("fieldseal.WaitForWork", bytes, patience: request.seconds + Self.patience / 2)
        return try RouterCoding.decoder.decode(WaitForWork.Answer.self, from: data)
    }

    /// Leases the named mailbox, or the one that is due first.
    func lease(_ host: String, mailbox: String? = nil) throws -> MailboxLease? {
        traceID = Self.newTraceID
        let data = try call("fieldseal.LeaseMailbox", MailboxLease.Request(hostId: host, mailboxId: mailbox))
        return data.isEmpty ? nil : try RouterCoding.decoder.decode(MailboxLease.self, from: data)
    }

    /// Returns a mailbox to the service.
    ///
    /// - Returns: Whether the router may wait for new messages on its connection.
    func report(_ report: MailboxReport) throws -> Bool {
        let data = try call("fieldseal.ReportMailbox", report)
        return data.isEmpty ? false : try RouterCoding.decoder.decode(MailboxReport.Answer.self, from: data).mayWatch
    }

    func credential(_ mailbox: MailboxLease, _ direction: MailDirection, _ host: String) throws -> MailLogin {
        let request = MailLogin.Request(mailboxId: mailbox.mailboxId, direction: direction, hostId: host)
        return try RouterCoding.decoder.decode(MailLogin.self, from: try call("fieldseal.ReleaseCredential", request))
    }

    func known(_ ids: some Sequence<String>, _ mailbox: MailboxLease, _ host: String) throws -> KnownMessages.Answer {
        let request = KnownMessages.Request(mailboxId: mailbox.mailboxId, hostId: host, ids: Array(ids))
        return try RouterCoding.decoder.decode(KnownMessages.Answer.self, from: try call("fieldseal.KnownMessages", request))
    }

    /// Sends notes about single messages.
    func note(_ notes: MailboxNotes) throws { _ = try call("fieldseal.NoteMessages", notes) }

    func pending(_ mailbox: MailboxLease, _ host: String, limit: Int) throws -> [PendingEmail] {
        let data = try call(
            "fieldseal.TakePendingEmails", PendingEmails.Request(mailboxId: mailbox.mailboxId, hostId: host, limit: limit))
        return try RouterCoding.decoder.decode(PendingEmails.Answer.self, from: data).value
    }

    /// Reports the progress of sending.
    func report(_ reports: [SendingReport], _ mailbox: MailboxLease, _ host: String) throws {
        _ = try call("fieldseal.ReportEmails", SendingReport.Request(mailboxId: mailbox.mailboxId, hostId: host, reports: reports))
    }

    /// Delivers e-mails. The type of the request declares its JSON keys, because a key encoding strategy would run for each key of
    /// each e-mail.
    func deliver(_ emails: [IncomingDelivery.Email], _ mailbox: MailboxLease, _ host: String) throws -> [IncomingDelivery.Verdict] {
        let request = IncomingDelivery.Request(mailboxId: mailbox.mailboxId, hostId: host, emails: emails)
        let bytes = Array(try JSONEncoder().encode(request))
        let data = try call("fieldseal.DeliverIncomingEmails", bytes, patience: Self.patience)
        return try JSONDecoder().decode(IncomingDelivery.Answer.self, from: data).value
    }
}
