import CLibPQ
import Foundation
import Synchronization

/// Listens to one channel of PostgreSQL (`LISTEN`) on one connection, for all parts of a process.
///
/// Notifications are lost while there is no connection, so `onStart` has to read the state again.
public final class NotificationListener: Sendable {
    private let conninfo: String
    private let channel: String
    private let isStopped = Atomic<Bool>(false)

    /// Milliseconds between two checks whether to stop.
    private static let stopInterval: Int32 = 500
    /// The time between two tests of a connection. Without a test, a broken connection looks like one without notifications.
    private static let checkInterval = Duration.seconds(30)
    /// The pause after the first failed connection, and the longest pause. The pause doubles with each failure.
    private static let pauses = (first: Duration.milliseconds(250), longest: Duration.seconds(5))

    /// Makes a listener, which connects in ``run(onStart:onNotice:)``.
    ///
    /// - Parameters:
    ///   - conninfo: libpq's connection string.
    ///   - channel: The channel's name, for `LISTEN`.
    public init(conninfo: String, channel: String) {
        (self.conninfo, self.channel) = (conninfo, channel)
    }

    /// Makes ``run(onStart:onNotice:)`` return.
    public func stop() { isStopped.store(true, ordering: .relaxed) }

    /// Listens until ``stop()``, and reconnects when the connection breaks.
    ///
    /// - Parameters:
    ///   - onStart: Called each time a new connection has begun to listen.
    ///   - onNotice: Called with a notification's payload.
    public func run(
        onStart: @escaping @Sendable () -> Void, onNotice: @escaping @Sendable (String) -> Void
    ) async {
        var pause = Self.pauses.first
        while !isStopped.load(ordering: .relaxed), !Task.isCancelled {
            if let connection = try? await PostgresConnection.connect(conninfo, applicationName: "fieldseal notices") {
                let start = ContinuousClock.now
                try? await connection.listen(to: channel, onStart, onNotice) { [self] in isStopped.load(ordering: .relaxed) }
                await connection.close()
                if .now - start > Self.checkInterval { pause = Self.pauses.first }
            }
            guard !isStopped.load(ordering: .relaxed) else { return }
            try? await Task.sleep(for: pause)
            pause = min(pause * 2, Self.pauses.longest)
        }
    }

    /// How often a connection is tested.
    fileprivate static var liveness: Duration { checkInterval }
    fileprivate static var patience: Int32 { stopInterval }
}

extension PostgresConnection {
    /// Listens until `isStopped` returns true. Blocks the connection's thread, which has no other work.
    fileprivate func listen(
        to channel: String, _ onStart: @Sendable () -> Void, _ onNotice: @Sendable (String) -> Void,
        until isStopped: @Sendable () -> Bool
    ) throws {
        try execute("LISTEN \(quoteIdentifier(channel))")
        onStart()
        var lastCheck = ContinuousClock.now
        while !isStopped() {
            let handle = try open()
            var descriptor = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, NotificationListener.patience) > 0, PQconsumeInput(handle) != 1 {
                throw PostgresError(connection: handle)
            }
            while let notice = PQnotifies(handle) {
                onNotice(String(cString: notice.pointee.extra))
                PQfreemem(notice)
            }
            if .now - lastCheck > NotificationListener.liveness {
                try execute("SELECT 1")
                lastCheck = .now
            }
        }
    }
}
