import CurlClient
import Foundation

/// A connection on which a mail server notifies of new messages of one mailbox (RFC 2177).
///
/// `IDLE` is issued again at intervals, because servers end a connection that is silent for half an hour. Issuing `IDLE` again also
/// detects broken connections. Before each new `IDLE`, `STATUS` asks for the next UID, because some servers announce no messages.
final class IdleConnection: @unchecked Sendable {
    // Sendable: only one thread at a time uses the connection. It is a worker, or the thread of IdleConnections, which locks.
    let mailbox: String
    /// The revision of the lease under which the router signed in on this connection.
    let revision: String
    /// Host and port of the server, and the user that is signed in.
    let server: String
    let user: String
    /// The tag of the password that this connection signed in with (``IdleConnections/tag(of:)``).
    let passwordTag: [UInt8]
    let since = ContinuousClock.now
    private var session: IMAPSession
    private var phase = Phase.idling
    private var phaseSince = ContinuousClock.now

    private enum Phase {
        case idling
        /// `DONE` was sent, and its confirmation has not arrived.
        case ending
        /// `STATUS` was sent, and the server has not answered.
        case checking
        /// `IDLE` was sent again, and the server is not ready yet.
        case starting
    }

    /// The result of reading from the connection.
    enum Event {
        case nothing
        /// The server has new messages.
        case news
        case lost(String)
    }

    /// How long the server may take to confirm `DONE` and `IDLE`.
    private static let patience = Duration.seconds(60)

    /// - Parameter session: A session with the inbox open, in `IDLE`.
    init(_ session: IMAPSession, mailbox: String, revision: String, server: String, user: String, passwordTag: [UInt8]) {
        (self.session, self.mailbox, self.revision, self.server, self.user) = (session, mailbox, revision, server, user)
        self.passwordTag = passwordTag
    }

    var descriptor: Int32 { session.connection.descriptor }

    /// Whether the server notified of messages since the inbox was opened.
    var hasNews: Bool { session.hasNews }

    /// Reads what has arrived, without waiting.
    func read() -> Event {
        do {
            for line in try session.connection.arrivedLines() { try take(line) }
        } catch {
            return .lost((error as? CurlError)?.reason ?? "\(error)")
        }
        return session.hasNews ? .news : .nothing
    }

    private func take(_ line: [UInt8]) throws {
        switch phase {
        case .starting where line.first == UInt8(ascii: "+"): enter(.idling)
        case .ending:
            guard try session.noteIdle(line) else { return }
            try session.beginStatus()
            enter(.checking)
        case .checking:
            guard try session.noteStatus(line) else { return }
            try session.beginIdle()
            enter(.starting)
        case .idling, .starting:
            // If the server ends IDLE without being asked, the connection is lost.
            if try session.noteIdle(line) { throw MailError.goodbye("the server ended IDLE") }
        }
    }

    /// Issues `IDLE` again when that is due. Returns ``Event/lost(_:)`` if the server does not respond.
    func refresh(every interval: Duration) -> Event {
        let age = ContinuousClock.now - phaseSince
        do {
            switch phase {
            case .idling where age > interval:
                try session.connection.send("DONE")
                enter(.ending)
            case .ending where age > Self.patience, .checking where age > Self.patience, .starting where age > Self.patience:
                return .lost("the server does not answer")
            default: break
            }
        } catch {
            return .lost(error.reason)
        }
        return .nothing
    }

    private func enter(_ phase: Phase) { (self.phase, phaseSince) = (phase, .now) }

    /// Ends `IDLE`, and waits until the server has confirmed the end.
    ///
    /// - Returns: The session, for other commands.
    func finish() throws -> IMAPSession {
        switch phase {
        case .idling: try session.endIdle()
        case .ending: try session.endIdle(sends: false)
        case .checking: while try !session.noteStatus(try session.connection.line()) {}
        case .starting:
            // The server accepts DONE only after it is ready.
            while try session.connection.line().first != UInt8(ascii: "+") {}
            try session.endIdle()
        }
        return session
    }

    /// Signs out, and does not wait for a response.
    func leave() {
        if phase == .idling { try? session.connection.send("DONE") }
        try? session.connection.send("R0 LOGOUT")
    }
}
