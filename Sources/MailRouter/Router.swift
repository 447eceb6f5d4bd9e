import Foundation
public import Logging
import Synchronization

/// The e-mail router: workers that lease one mailbox after the other from the service, and fetch and send its mail. Any number of
/// routers may work for one organization; it keeps nothing of its own.
public final class Router: Sendable {
    private let configuration: RouterConfiguration
    private let logger: Logger
    public let metrics = RouterMetrics()
    private let stopped = Atomic<Bool>(false)

    public init(_ configuration: RouterConfiguration, logger: Logger) {
        self.configuration = configuration
        self.logger = logger
    }

    /// Has the workers end after the message that they are at.
    public func stop() { stopped.store(true, ordering: .relaxed) }

    /// Works until ``stop()``, on threads of its own: mail servers make one wait.
    public func run() async {
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<configuration.workers {
                group.addTask { [self] in
                    await withCheckedContinuation { continuation in
                        let thread = Thread { [self] in
                            work(number)
                            continuation.resume()
                        }
                        // Deep multiparts take stack.
                        thread.stackSize = 16 << 20
                        thread.start()
                    }
                }
            }
        }
    }

    private func work(_ number: Int) {
        var machine = [CChar](repeating: 0, count: 256)
        gethostname(&machine, machine.count - 1)
        let name = String(decoding: machine.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self).prefix(60)
        var client: RouterClient?
        var pause = configuration.idle
        while !isStopped {
            do {
                let open = try client ?? RouterClient(configuration)
                client = open
                // Another name for each lease, so that what was left behind under the last one is nobody's.
                let host = "\(name)/\(ProcessInfo.processInfo.processIdentifier)/\(number)/\(UUID().uuidString.prefix(8))"
                guard let mailbox = try open.lease(host) else {
                    pause = configuration.idle
                    rest(pause)
                    continue
                }
                try MailboxTurn(
                    mailbox: mailbox, host: host, client: open, configuration: configuration, logger: logger, metrics: metrics,
                    isStopped: { [self] in isStopped }
                ).run()
                pause = configuration.idle
            } catch ServiceError.leaseLost {
                logger.notice("mailbox taken over", metadata: ["worker": "\(number)"])
            } catch {
                logger.warning("turn not finished", metadata: ["why": "\(error)", "worker": "\(number)"])
                client = nil
                rest(pause)
                pause = min(pause * 2, 60)
            }
        }
    }

    private var isStopped: Bool { stopped.load(ordering: .relaxed) }

    private func rest(_ seconds: Double) {
        let deadline = Date().addingTimeInterval(seconds)
        while !isStopped, Date() < deadline { Thread.sleep(forTimeInterval: min(0.1, max(0, deadline.timeIntervalSinceNow))) }
    }
}
