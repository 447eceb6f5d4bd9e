import Crypto
import Foundation
import Glibc
import Logging
import RouterProtocol
import Synchronization

/// The connections on which mail servers notify of new messages. One thread reads all these connections.
final class IdleConnections: Sendable {
    private struct State {
        var connections: [String: IdleConnection] = [:]
        /// Mailboxes whose servers ended a waiting connection soon after its beginning, each with the time until which the mailbox
        /// is polled instead.
        var unfit: [String: Date] = [:]
        /// How many connections a user may have at a server, by user and server. Set after the server refused a sign-in.
        var userLimits: [String: Int] = [:]
        var isStopped = false
    }

    private let state = Mutex(State())
    private let configuration: RouterConfiguration
    private let board: WorkBoard
    private let logger: Logger
    /// The key of ``tag(of:)``, which is random for each process.
    private let tagKey = SymmetricKey(size: .bits256)
    /// A pipe: writing a byte to it wakes the thread.
    private let wakeReader: Int32
    private let wakeWriter: Int32

    /// If a server ends a connection sooner than this, the mailbox is polled instead.
    private static let shortLife = Duration.seconds(60)
    /// Seconds for which a mailbox is polled after its server ended a waiting connection sooner than ``shortLife``.
    private static let unfitSeconds = 1_800.0
    /// Milliseconds between two checks whether `IDLE` has to be issued again.
    private static let lookInterval: Int32 = 5_000

    init(_ configuration: RouterConfiguration, board: WorkBoard, logger: Logger) {
        (self.configuration, self.board, self.logger) = (configuration, board, logger)
        var ends: [Int32] = [-1, -1]
        // Without a pipe, the thread notices changes at its next check.
        if pipe(&ends) != 0 { ends = [-1, -1] }
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        (wakeReader, wakeWriter) = (ends[0], ends[1])
    }

    deinit {
        close(wakeReader)
        close(wakeWriter)
    }

    /// The watched mailboxes, in the form that the service receives.
    var watched: [WaitForWork.Watched] {
        state.withLock { state in state.connections.values.map { .init(mailboxId: $0.mailbox, revision: $0.revision) } }
    }

    var count: Int { state.withLock { $0.connections.count } }

    func holds(_ mailbox: String) -> Bool { state.withLock { $0.connections[mailbox] != nil } }

    /// A tag that is equal for equal passwords. The tag is useless outside of this process, because its key is random.
    func tag(of password: String?) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Data((password ?? "").utf8), using: tagKey))
    }

    /// Handles a refused sign-in. If a connection with the same password is waiting, the password is right, and the server limits
    /// the connections of a user. In that case, half of this user's waiting connections are ended.
    ///
    /// - Returns: Whether any connection with that password was waiting.
    func signInWasRefused(_ user: String, _ password: String?, at server: String) -> Bool {
        let tag = tag(of: password)
        let excess = state.withLock { state in
            let held = state.connections.values.filter { $0.user == user && $0.server == server && $0.passwordTag == tag }
            guard !held.isEmpty else { return held }
            state.userLimits["\(user) \(server)"] = held.count / 2
            let excess = Array(held.dropFirst(held.count / 2))
            for connection in excess { state.connections[connection.mailbox] = nil }
            return excess
        }
        for connection in excess { connection.leave() }
        return !excess.isEmpty
    }

    /// Whether one more connection of this user may wait for new messages.
    func hasRoom(for mailbox: String, user: String, at server: String) -> Bool {
        state.withLock { state in
            state.unfit = state.unfit.filter { $0.value > Date() }
            let limit = state.userLimits["\(user) \(server)"] ?? .max
            return !state.isStopped && state.unfit[mailbox] == nil && state.connections.count < configuration.idleConnections
                && state.connections.values.count { $0.user == user && $0.server == server } < limit
        }
    }

    /// From now on, the mailbox is polled for ``unfitSeconds``, because its server ends waiting connections.
    func giveUp(_ mailbox: String) {
        state.withLock { $0.unfit[mailbox] = Date().addingTimeInterval(Self.unfitSeconds) }
    }

    /// Starts to read from a connection.
    func add(_ connection: IdleConnection) {
        let isTaken = state.withLock { state in
            guard !state.isStopped else { return false }
            state.connections[connection.mailbox] = connection
            return true
        }
        guard isTaken else { return connection.leave() }
        // The server may have sent lines together with its answer to IDLE. They are read already, so poll(2) does not announce
        // them.
        look([connection.mailbox])
        wake()
    }

    /// Removes a mailbox's connection and returns it; nil if the mailbox has no connection.
    func take(_ mailbox: String) -> IdleConnection? { state.withLock { $0.connections.removeValue(forKey: mailbox) } }

    /// Ends connections at the service's request.
    func end(_ mailboxes: [String]) {
        for mailbox in mailboxes { take(mailbox)?.leave() }
    }

    /// Makes ``run()`` return, and ends all connections.
    func stop() {
        let connections = state.withLock { state in
            state.isStopped = true
            defer { state.connections = [:] }
            return Array(state.connections.values)
        }
        for connection in connections { connection.leave() }
        wake()
    }

    private func wake() {
        var byte: UInt8 = 0
        _ = write(wakeWriter, &byte, 1)
    }

    /// Reads from the connections until ``stop()``, on the calling thread.
    func run() {
        while true {
            let (watched, isStopped) = state.withLock { state in
                (state.connections.values.map { ($0.mailbox, $0.descriptor) }, state.isStopped)
            }
            if isStopped { return }
            var descriptors = [pollfd(fd: wakeReader, events: Int16(POLLIN), revents: 0)]
            descriptors += watched.map { pollfd(fd: $0.1, events: Int16(POLLIN), revents: 0) }
            poll(&descriptors, nfds_t(descriptors.count), Self.lookInterval)
            var byte = [UInt8](repeating: 0, count: 64)
            while read(wakeReader, &byte, byte.count) > 0 {}
            let spoke = Set(zip(watched, descriptors.dropFirst()).filter { $0.1.revents != 0 }.map(\.0.0))
            look(spoke)
        }
    }

    private func look(_ spoke: Set<String>) {
        let refresh = Duration.seconds(configuration.idleRefresh)
        var news: [String] = []
        var lost: [(IdleConnection, String)] = []
        state.withLock { state in
            for (mailbox, connection) in state.connections {
                var event = spoke.contains(mailbox) ? connection.read() : .nothing
                if case .nothing = event { event = connection.refresh(every: refresh) }
                switch event {
                case .nothing: break
                case .news: news.append(mailbox)
                case .lost(let why):
                    lost.append((connection, why))
                    state.connections[mailbox] = nil
                }
            }
        }
        for mailbox in news { board.add(mailbox) }
        for (connection, why) in lost { lose(connection, why) }
    }

    /// Schedules a turn at a mailbox whose connection ended. If the connection was short, the mailbox is polled for a while.
    private func lose(_ connection: IdleConnection, _ why: String) {
        let isShort = ContinuousClock.now - connection.since < Self.shortLife
        logger.info(
            "the mail server ended a connection that waited for mail",
            metadata: ["mailbox": "\(connection.mailbox)", "server": "\(connection.server)", "error": "\(why)"])
        if isShort { giveUp(connection.mailbox) }
        // The delay is random, so that a restarted mail server does not get all sign-ins at once.
        board.add(connection.mailbox, after: .random(in: 0.5...5))
    }
}
