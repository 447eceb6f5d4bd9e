import Foundation
package import Logging
import RouterProtocol
import Synchronization

/// The e-mail router: workers lease mailboxes from the service, and fetch and send their mail. Any number of routers may work for
/// one organization. A router stores nothing.
///
/// One request of the router waits at the service until there is work. One thread reads the connections on which mail servers
/// notify of new messages. Idle workers send no requests.
package final class Router: Sendable {
    private let configuration: RouterConfiguration
    private let logger: Logger
    package let metrics = RouterMetrics()
    private let board = WorkBoard()
    private let idle: IdleConnections
    /// The router's name, which stays the same until the router ends.
    private let name: String
    private let stopped = Atomic<Bool>(false)

    package init(_ configuration: RouterConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
        idle = IdleConnections(configuration, board: board, logger: logger)
        var machine = [CChar](repeating: 0, count: 256)
        gethostname(&machine, machine.count - 1)
        let host = String(decoding: machine.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).prefix(60)
        name = "\(host)/\(ProcessInfo.processInfo.processIdentifier)/\(Self.someLetters)"
    }

    private static var someLetters: Substring { UUID().uuidString.prefix(8) }

    /// Makes each worker stop after its current message.
    package func stop() {
        stopped.store(true, ordering: .relaxed)
        board.stop()
        idle.stop()
    }

    /// Works until ``stop()``, on separate threads, because requests to mail servers block.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<configuration.workers { group.addTask { [self] in await onThread { [self] in work(number) } } }
            group.addTask { [self] in await onThread { [self] in waitForWork() } }
            group.addTask { [self] in await onThread { [self] in idle.run() } }
        }
        await onThread { [self] in leave() }
    }

    private func onThread(_ body: @escaping @Sendable () -> Void) async {
        await withCheckedContinuation { continuation in
            let thread = Thread {
                body()
                continuation.resume()
            }
            // Deeply nested multipart messages need a large stack.
            thread.stackSize = 16 << 20
            thread.start()
        }
    }

    private var isStopped: Bool { stopped.load(ordering: .relaxed) }

    private func rest(_ seconds: Double) {
        let deadline = Date().addingTimeInterval(seconds)
        while !isStopped, Date() < deadline { Thread.sleep(forTimeInterval: min(0.1, max(0, deadline.timeIntervalSinceNow))) }
    }

    // MARK: Waiting

    /// Seconds between two requests for work while all workers are busy. The requests show that the router is alive.
    private static let busyInterval = 30.0
    /// Seconds to wait until the workers know whether the service has a mailbox for them.
    private static let decisionSeconds = 60.0
    /// Pauses in seconds after the service announced work and then had none. The first pause is doubled each time, up to the
    /// longest.
    private static let vainPauses = (first: 0.5, longest: 10.0)

    private func waitForWork() {
        var client: RouterClient?
        var pause = RouterConfiguration.pauses.first
        var vainPause = Self.vainPauses.first
        while !isStopped {
            do {
                let open = try client ?? RouterClient(configuration) { [self] in isStopped }
                client = open
                let found = try waitOnce(open)
                pause = RouterConfiguration.pauses.first
                if found { vainPause = Self.vainPauses.first } else { vainPause = restInVain(vainPause) }
            } catch {
                guard !isStopped else { return }
                logger.warning("request for work failed", metadata: ["error": "\(error)"])
                client = nil
                rest(pause)
                pause = min(pause * 2, RouterConfiguration.pauses.longest)
            }
        }
    }

    private func restInVain(_ pause: Double) -> Double {
        rest(pause)
        return min(pause * 2, Self.vainPauses.longest)
    }

    /// Sends one request for work, and wakes workers.
    ///
    /// - Returns: False if the service responded without waiting, and there was no work.
    private func waitOnce(_ client: RouterClient) throws -> Bool {
        let hasWorker = board.waitForWorker(seconds: Self.busyInterval)
        guard !isStopped else { return true }
        let began = Date()
        let request = WaitForWork.Request(
            hostId: name, seconds: hasWorker ? configuration.wait : 0, wantsWork: hasWorker, watching: idle.watched)
        metrics.countWait()
        let answer = try client.wait(request)
        idle.end(answer.ended)
        if hasWorker, answer.due > 0 {
            board.offer(answer.due)
            return board.waitForDecision(seconds: Self.decisionSeconds)
        }
        return !hasWorker || !answer.ended.isEmpty || Date().timeIntervalSince(began) > 1
    }

    /// The time limit in seconds for the sign-off.
    private static let farewellSeconds = 5.0

    /// Tells the service that other routers may poll the mailboxes that this router watched.
    private func leave() {
        let deadline = Date().addingTimeInterval(Self.farewellSeconds)
        // If this fails, the service counts the router as ended after a while.
        guard let client = try? RouterClient(configuration, isCancelled: { Date() > deadline }) else { return }
        _ = try? client.wait(WaitForWork.Request(hostId: name, seconds: 0, wantsWork: false, isLeaving: true))
    }

    // MARK: Working

    private func work(_ number: Int) {
        var client: RouterClient?
        var pause = RouterConfiguration.pauses.first
        while let work = board.next() {
            do {
                let open = try client ?? RouterClient(configuration)
                client = open
                try run(work, number, open)
                pause = RouterConfiguration.pauses.first
            } catch ServiceError.leaseLost {
                logger.notice("another router has leased the mailbox", metadata: ["worker": "\(number)"])
            } catch {
                logger.warning(
                    "work on a mailbox failed",
                    metadata: ["error": "\(error)", "worker": "\(number)", "trace_id": "\(client?.traceID ?? "")"])
                client = nil
                rest(pause)
                pause = min(pause * 2, RouterConfiguration.pauses.longest)
            }
        }
    }

    private func run(_ work: WorkBoard.Work, _ number: Int, _ client: RouterClient) throws {
        switch work {
        case .mailbox(let mailbox):
            guard try !takeTurn(at: mailbox, number, client), idle.holds(mailbox) else { return }
            // Another worker has the mailbox, and may have missed the new message.
            board.add(mailbox, after: Self.leasedElsewherePause)
        case .any:
            var isDecided = false
            defer { if !isDecided { board.decide(false) } }
            while !isStopped {
                let hasTaken = try takeTurn(at: nil, number, client) {
                    if !isDecided { board.decide($0) }
                    isDecided = true
                }
                guard hasTaken else { return }
            }
        }
    }

    /// Seconds before a mailbox that another worker has is requested again.
    private static let leasedElsewherePause = 3.0

    /// Leases a mailbox, and fetches and sends its mail.
    ///
    /// - Parameter onLease: Called with true if the service leased a mailbox to this worker.
    /// - Returns: True if the service leased a mailbox.
    private func takeTurn(
        at mailbox: String?, _ number: Int, _ client: RouterClient, onLease: (Bool) -> Void = { _ in }
    ) throws -> Bool {
        // Each lease gets a new name, so that the service refuses requests under an earlier lease.
        let host = "\(name)/\(number)/\(Self.someLetters)"
        let lease = try client.lease(host, mailbox: mailbox)
        onLease(lease != nil)
        guard let lease else { return false }
        var logger = logger
        logger[metadataKey: "trace_id"] = "\(client.traceID)"
        try MailboxTurn(
            mailbox: lease, host: host, router: name, client: client, configuration: configuration, logger: logger,
            metrics: metrics,
            idle: idle, isStopped: { [self] in isStopped }
        ).run()
        metrics.watched = idle.count
        return true
    }
}
