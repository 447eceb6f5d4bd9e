import CurlClient
import Foundation
import Logging
import RouterProtocol

/// One turn at a leased mailbox: fetches, then sends, then reports the result.
struct MailboxTurn {
    let mailbox: MailboxLease
    /// The router's name for this lease.
    let host: String
    let router: String
    let client: RouterClient
    let configuration: RouterConfiguration
    let logger: Logger
    let metrics: RouterMetrics
    let idle: IdleConnections
    let isStopped: () -> Bool
    private let start = ContinuousClock.now

    struct Counts: Sendable {
        /// Messages that were inspected, even if only by size and date.
        var inspected = 0
        var fetched = 0
        /// Whether the turn ended before it had inspected all messages.
        var isUnfinished = false
        /// Messages that became records.
        var processed = 0
        /// How many messages the service did not make records of, for each ReasonCode of Dataverse.
        var refused: [Int: Int] = [:]
        /// Messages that failed: the service refused the request or found no sender or recipient, the message was too large, or it
        /// could not be fetched.
        var failed = 0
        var sent = 0
        /// How many e-mails were not sent, by result: `temporary`, `permanent` or `unknown`.
        var unsent: [String: Int] = [:]
        /// The problems of single messages.
        var problems: [MailboxProblem] = []
        /// The arrival time of the oldest message that was found.
        var oldestArrival: Date?
        /// E-mails that failed permanently, or whose result is unknown.
        var lost: Int { unsent.filter { $0.key != "temporary" }.values.reduce(0, +) }

        static func += (left: inout Counts, right: Counts) {
            left.inspected += right.inspected
            left.fetched += right.fetched
            left.isUnfinished = left.isUnfinished || right.isUnfinished
            left.processed += right.processed
            left.refused.merge(right.refused, uniquingKeysWith: +)
            left.failed += right.failed
            left.sent += right.sent
            left.unsent.merge(right.unsent, uniquingKeysWith: +)
            left.problems += right.problems
            left.oldestArrival = left.oldestArrival ?? right.oldestArrival
        }
    }

    /// The position at which the next turn continues. If the position is lost, all messages are inspected again, and no message
    /// becomes a second record.
    struct State: Codable {
        /// IMAP: UIDVALIDITY and the highest UID that was inspected.
        var validity: UInt32?
        var uid: UInt32?
        /// POP3: the beginning of the list in which all messages were inspected.
        var known: Prefix?
        /// POP3, written by earlier builds: the unique ids of inspected messages.
        var ids: [String]?

        /// A beginning of a list of unique ids.
        struct Prefix: Codable {
            let count: Int
            /// SHA-256 of the ids.
            let digest: String
        }
    }

    func run() throws {
        let began = Date()
        var counts = Counts()
        var problem: MailboxProblem?
        var state = mailbox.routerState.flatMap { try? JSONDecoder().decode(State.self, from: Data($0.utf8)) } ?? State()
        var waiting: IdleConnection?
        var report = MailboxReport(mailboxId: mailbox.mailboxId, hostId: host)
        if mailbox.receives || mailbox.tests && mailbox.usesIncoming ?? true {
            do {
                waiting = try receive(&state, &counts)
                report.incomingIsWell = true
            } catch let error as MailboxProblem {
                problem = error
                report.incomingIsWell = false
            }
        }
        if mailbox.sends || mailbox.tests && mailbox.usesOutgoing ?? true {
            do {
                // If the turn had nothing to send, it did not sign in, and learned nothing about the server.
                if try send(&counts) { report.outgoingIsWell = true }
            } catch let error as MailboxProblem {
                problem = problem ?? error
                report.outgoingIsWell = false
            }
        }
        metrics.add(counts, problem: problem?.code, mailbox: mailbox.mailboxId, began: began)
        try giveBack(report, state, counts, problem, waiting)
        log(counts, problem, began)
    }

    /// Returns the mailbox. If the service allows it, the connection continues to wait for new messages.
    private func giveBack(
        _ report: MailboxReport, _ state: State, _ counts: Counts, _ problem: MailboxProblem?, _ waiting: IdleConnection?
    ) throws {
        var report = report
        report.tests = mailbox.tests
        report.routerState = String(decoding: try JSONEncoder().encode(state), as: UTF8.self)
        report.processed = counts.processed
        report.failed = counts.failed + counts.lost
        // A mailbox with messages left over is due again without a pause. Other due mailboxes come first.
        let hasMore = counts.isUnfinished || max(counts.inspected, counts.sent) >= configuration.turnLimit
        report.interval = hasMore ? 0 : configuration.interval
        if !counts.problems.isEmpty { report.alerts = Self.alerts(counts.problems) }
        report.error = problem?.told
        if waiting != nil { (report.watcher, report.revision) = (router, mailbox.revision) }
        var mayWait = false
        let told = report
        try persistently { mayWait = try client.report(told) }
        guard let waiting else { return }
        if mayWait { idle.add(waiting) } else { waiting.leave() }
    }

    private func log(_ counts: Counts, _ problem: MailboxProblem?, _ began: Date) {
        var metadata: Logger.Metadata = [
            "mailbox": "\(mailbox.mailboxId)", "fetched": "\(counts.fetched)", "delivered": "\(counts.processed)",
            "refused": "\(counts.refused.values.reduce(0, +))", "sent": "\(counts.sent)",
            "failed": "\(counts.failed + counts.lost)",
            "seconds": "\(String(format: "%.3f", Date().timeIntervalSince(began)))",
        ]
        if let problem { metadata["error"] = "\(problem.text)" }
        logger.log(level: problem == nil ? .info : .warning, "mailbox processed", metadata: metadata)
    }

    /// Whether the turn ends after this many messages, because it has reached both numbers of ``RouterConfiguration/fairTurn``.
    func isLong(after messages: Int) -> Bool {
        messages >= RouterConfiguration.fairTurn.messages
            && ContinuousClock.now - start > .seconds(RouterConfiguration.fairTurn.seconds)
    }

    /// Retries while the service is unavailable, for at most 15 minutes, and not after the router was told to stop.
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

    func login(_ direction: MailDirection) throws -> MailLogin {
        try asking { try client.credential(mailbox, direction, host) }
    }

    /// Runs a request to the service, and translates a refusal to a problem of the mailbox.
    func asking<Answer>(_ body: () throws -> Answer) throws -> Answer {
        do {
            return try body()
        } catch ServiceError.refused(_, let code, let message) {
            let known = ServiceCode(rawValue: code)
            let kind =
                switch known {
                case .keySourceMissing, .keyRequired: AlertCode.keyRequired
                case .profileInactive: AlertCode.notApproved
                case .privilegeDenied: AlertCode.notAuthorized
                case .profileNotAssociated, .sslRequired, .notImplemented: AlertCode.noCredential
                default: AlertCode.unreachable
                }
            // Only wrong settings of the mailbox or its profile disable the mailbox. Any other refusal only ends the turn. Examples
            // are a missing key, a suspended organization, a connection without TLS, a failed authorization server, and settings
            // that have to be checked.
            let needsChange = [AlertCode.notApproved, AlertCode.noCredential].contains(kind) && known != .sslRequired
            throw MailboxProblem(kind, message, code, isPermanent: needsChange)
        }
    }

    func connect(_ login: MailLogin, _ scheme: MailServer.Scheme, implicitPort: Int) throws -> CurlConnection {
        let server = "\(login.server):\(login.port)"
        // A connection to a port for implicit TLS uses TLS from the first byte. A connection to any other port uses STARTTLS. TLS
        // is off only if the service allows it.
        let isImplicit = login.useSSL && (login.port == implicitPort || probesImplicitTLS(login))
        do {
            return try CurlConnection(
                to: mailServer(login, scheme, tls: isImplicit ? .implicit : login.useSSL ? .required : .none),
                timeout: mailbox.timeout)
        } catch {
            if login.useSSL, !Self.knownPorts.contains(login.port), ![.signInRefused, .signInDeferred].contains(error.kind) {
                STARTTLSProbe.correct(login.server, login.port, answersTLS: !(isImplicit && error.kind == .tlsFailed))
            }
            let problem = MailboxProblem(error, server: server, what: "the mailbox \(mailbox.address)")
            guard [.signInRefused, .signInDeferred].contains(error.kind), let user = login.userName,
                idle.signInWasRefused(user, login.password, at: server)
            else {
                throw problem
            }
            throw MailboxProblem(problem.code, problem.text, problem.details, isPermanent: false)
        }
    }

    private func mailServer(_ login: MailLogin, _ scheme: MailServer.Scheme, tls: MailServer.TLS) -> MailServer {
        var server = MailServer(scheme, login.server, port: login.port, tls: tls)
        let later = configuration.laterMailAuthorityFile.flatMap { FileManager.default.fileExists(atPath: $0) ? $0 : nil }
        server.authorityFile = configuration.mailAuthorityFile ?? later
        guard let user = login.userName, let secret = login.password else { return server }
        let signIn: MailServer.SignIn =
            switch login.authenticationProtocol {
            case AuthenticationProtocol.ntlm.rawValue: .ntlm
            case AuthenticationProtocol.oauth.rawValue: .token
            default: .password
            }
        server.credential = (user, secret, signIn)
        return server
    }

    /// Ports on which servers use STARTTLS.
    private static let knownPorts = [143, 110, 25, 587]

    /// True if the server expects TLS from the first byte, false if it uses STARTTLS.
    ///
    /// Ports outside of ``knownPorts`` are probed: with implicit TLS a server sends nothing before the handshake. So a server that
    /// sends a greeting within a moment uses STARTTLS. With either method, no password is sent before TLS.
    private func probesImplicitTLS(_ login: MailLogin) -> Bool {
        guard !Self.knownPorts.contains(login.port) else { return false }
        return !STARTTLSProbe.isGiven(by: login.server, login.port)
    }

    func log(_ level: Logger.Level, _ text: Logger.Message, _ metadata: Logger.Metadata) {
        logger.log(level: level, text, metadata: metadata.merging(["mailbox": "\(mailbox.mailboxId)"]) { own, _ in own })
    }
}
