import CCurl
import CurlClient
import Foundation
import RouterProtocol

/// Where the service is, and who the router is there.
public struct RouterConfiguration: Sendable {
    /// The service's address, without a trailing slash.
    public var service: String
    public var organization: String
    public var clientID: String
    public var secret: String
    /// PEM certificates that the service's is from; nil for the system's.
    public var serviceAuthorityFile: String?
    /// PEM certificates that mail servers' are from, once the file is there; nil for the system's.
    public var mailAuthorityFile: String?
    /// Mailboxes that are worked on at a time.
    public var workers = 4
    /// Seconds between two turns at a mailbox that is polled.
    public var interval = 300
    /// Seconds that a request for work waits at the service.
    public var wait = RouterLimits.waitSeconds
    /// Connections on which IMAP servers tell of new messages (IDLE); 0 to poll every mailbox.
    public var idleConnections = 500
    /// Seconds after which IDLE is issued anew, less than 29 minutes.
    public var idleRefresh = 600
    /// Seconds between two attempts while the service is away: the first pause, doubled up to the second.
    static let pauses = (first: 1.0, longest: 60.0)
    /// Messages of one turn at most, so that a heavy mailbox starves nobody.
    public var turnLimit = 500
    /// Bytes of a message at most.
    public var messageLimit = 50 << 20

    public init(service: String, organization: String, clientID: String, secret: String) {
        (self.service, self.organization, self.clientID, self.secret) = (service, organization, clientID, secret)
    }
}

/// What is signed in with; forgotten with the session.
struct Login: Decodable {
    let userName: String?
    let password: String?
    let server: String
    let port: Int
    let useSSL: Bool
    let authenticationProtocol: Int
    let serverType: Int
}

/// An e-mail that is to be sent.
struct PendingEmail: Decodable, Sendable {
    struct Person: Decodable, Sendable {
        let name: String
        let address: String
    }

    struct Attachment: Decodable, Sendable {
        let name: String
        let type: String
        let body: String

        enum CodingKeys: String, CodingKey {
            case name = "fileName"
            case type = "mimeType"
            case body
        }
    }

    let id: String
    let subject: String
    let body: String
    let messageID: String
    let inReplyTo: String?
    /// References of what it answers.
    let references: [String]?
    /// `text/html` or `text/plain`; nil where the e-mail says neither.
    let bodyType: String?
    let priority: Int
    let readReceiptRequested: Bool
    /// One person, in a list as the recipients are.
    private let senders: [Person]
    let to: [Person]
    let cc: [Person]
    let bcc: [Person]
    let attachments: [Attachment]

    var from: Person { senders.first ?? Person(name: "", address: "") }

    enum CodingKeys: String, CodingKey {
        case id = "emailId"
        case messageID = "messageId"
        case senders = "from"
        case subject, body, inReplyTo, references, bodyType, priority, readReceiptRequested, to, cc, bcc, attachments
    }
}

/// A parameter of an action.
enum Parameter: Encodable, Sendable {
    case text(String)
    case number(Int)
    case flag(Bool)
    case list([Parameter])
    case object([String: Parameter])

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let value): try container.encode(value)
        case .number(let value): try container.encode(value)
        case .flag(let value): try container.encode(value)
        case .list(let value): try container.encode(value)
        case .object(let value): try container.encode(value)
        }
    }
}

/// Why the service did not do what the router asked.
enum ServiceError: Error, CustomStringConvertible {
    /// It can't be reached, or is too busy: asked again later.
    case away(String)
    /// The mailbox is another router's by now.
    case leaseLost
    /// It refuses this.
    case refused(status: Int, code: String, message: String)

    var description: String {
        switch self {
        case .away(let why): "the service is away: \(why)"
        case .leaseLost: "the mailbox is leased to another router by now"
        case .refused(let status, let code, let message): "the service refuses: \(message) [\(status) \(code)]"
        }
    }
}

/// The Web API, as one worker of a router speaks to it: on one connection, one request at a time.
final class RouterClient {
    private let configuration: RouterConfiguration
    private let handle: CurlHandle
    private var token: (text: String, goodUntil: Date)?
    private let isCancelled: (@Sendable () -> Bool)?

    /// - Parameter isCancelled: Asked about once a second; true ends the request that is under way.
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

    private struct Failure: Decodable {
        struct Detail: Decodable {
            let code: String
            let message: String
        }
        let error: Detail
    }

    /// Seconds for a request.
    private static let patience = 60

    private func send(
        _ path: String, _ headers: [String], _ body: [UInt8], patience: Int = RouterClient.patience
    ) throws -> HTTPSRequest.Answer {
        var request = HTTPSRequest("\(configuration.service)/\(configuration.organization)/\(path)")
        request.method = "POST"
        request.headers = headers
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
            throw tokenError(answer.status)
        }
        token = (new.text, Date().addingTimeInterval(new.seconds - 60))
        return new.text
    }

    private func tokenError(_ status: Int) -> ServiceError {
        switch status {
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
                message: "\(configuration.service) does not answer as a token endpoint does; check --service")
        }
    }

    /// Sends an action.
    ///
    /// - Returns: The answer's body; empty for none.
    /// - Throws: ``ServiceError``.
    func call(_ path: String, _ body: [String: Parameter]) throws -> Data {
        try call(path, Array(try JSONEncoder().encode(body)), patience: Self.patience)
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
                if failure?.code == "0x80060882" { throw ServiceError.leaseLost }
                // The service lost its database while it saved. The action is asked again, and answered by what is there then.
                if failure?.code == "0x80044150" { throw ServiceError.away("it does not know whether it saved") }
                throw ServiceError.refused(
                    status: answer.status, code: failure?.code ?? "", message: failure?.message ?? "status \(answer.status)")
            }
        }
        throw ServiceError.refused(status: 401, code: "", message: "the router's token is not taken")
    }

    /// Waits until the service has work.
    func wait(_ request: WaitForWork.Request) throws -> WaitForWork.Answer {
        let bytes = Array(try RouterCoding.encoder.encode(request))
        let data = try call("fieldseal.WaitForWork", bytes, patience: request.seconds + Self.patience / 2)
        return try RouterCoding.decoder.decode(WaitForWork.Answer.self, from: data)
    }

    /// Leases the mailbox that is due, or the one that is named.
    func lease(_ host: String, mailbox: String? = nil) throws -> MailboxLease? {
        var body: [String: Parameter] = ["HostId": .text(host)]
        if let mailbox { body["MailboxId"] = .text(mailbox) }
        let data = try call("fieldseal.LeaseMailbox", body)
        return data.isEmpty ? nil : try RouterCoding.decoder.decode(MailboxLease.self, from: data)
    }

    /// Gives a mailbox back.
    ///
    /// - Returns: Whether the router may wait for new messages on its connection.
    func report(_ body: [String: Parameter]) throws -> Bool {
        let data = try call("fieldseal.ReportMailbox", body)
        return data.isEmpty ? false : try RouterCoding.decoder.decode(MailboxReportAnswer.self, from: data).mayWatch
    }

    func credential(_ mailbox: MailboxLease, _ direction: String, _ host: String) throws -> Login {
        let data = try call(
            "fieldseal.ReleaseCredential",
            ["MailboxId": .text(mailbox.mailboxId), "Direction": .text(direction), "HostId": .text(host)])
        return try RouterCoding.decoder.decode(Login.self, from: data)
    }

    private struct PendingList: Decodable {
        let value: [PendingEmail]
    }

    func pending(_ mailbox: MailboxLease, _ host: String, limit: Int) throws -> [PendingEmail] {
        let data = try call(
            "fieldseal.TakePendingEmails", ["MailboxId": .text(mailbox.mailboxId), "HostId": .text(host), "Limit": .number(limit)])
        return try RouterCoding.decoder.decode(PendingList.self, from: data).value
    }
}
