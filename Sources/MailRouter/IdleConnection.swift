import CurlClient
import Foundation

/// A connection on which a mail server tells of new messages of one mailbox (RFC 2177).
///
/// `IDLE` is issued anew from time to time: servers end a connection that says nothing for half an hour, and one that is dead is
/// noticed.
final class IdleConnection: @unchecked Sendable {
    // Sendable: one thread uses it at a time, the worker that makes or takes it, or that of IdleConnections under its lock.
    let mailbox: String
    /// The lease's, under which it was signed in.
    let revision: String
    /// Host and port, and the user that is signed in.
    let server: String
    let user: String
    /// Tells whether another sign-in is by the same password (``IdleConnections/tag(of:)``).
    let passwordTag: [UInt8]
    let since = ContinuousClock.now
    private var session: IMAPSession
    private var phase = Phase.idling
    private var phaseSince = ContinuousClock.now

    private enum Phase {
        case idling
        /// `DONE` was sent, and its confirmation is waited for.
        case ending
        /// `IDLE` was sent again, and the server's readiness is waited for.
        case starting
    }

    /// What a look at the connection came to.
    enum Event {
        case nothing
        /// The server has something new.
        case news
        case lost(String)
    }

    /// Seconds that the server may take to confirm `DONE` and `IDLE`.
    private static let patience = Duration.seconds(60)

    /// - Parameter session: It has the inbox open, and idles.
    init(_ session: IMAPSession, mailbox: String, revision: String, server: String, user: String, passwordTag: [UInt8]) {
        (self.session, self.mailbox, self.revision, self.server, self.user) = (session, mailbox, revision, server, user)
        self.passwordTag = passwordTag
    }

    var descriptor: Int32 { session.connection.descriptor }

    /// Whether the server told of messages since the inbox was opened.
    var hasNews: Bool { session.hasNews }

    /// Takes what has arrived, without waiting.
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
            try session.beginIdle()
            enter(.starting)
        case .idling, .starting:
            // A server that ends IDLE by itself is asked no more.
            if try session.noteIdle(line) { throw MailError.goodbye("the server ended IDLE") }
        }
    }

    /// Issues `IDLE` anew when it is time, and gives up a server that does not answer.
    func refresh(every interval: Duration) -> Event {
        let age = ContinuousClock.now - phaseSince
        do {
            switch phase {
            case .idling where age > interval:
                try session.connection.send("DONE")
                enter(.ending)
            case .ending where age > Self.patience, .starting where age > Self.patience:
                return .lost("the server does not answer")
            default: break
            }
        } catch {
            return .lost(error.reason)
        }
        return .nothing
    }

    private func enter(_ phase: Phase) { (self.phase, phaseSince) = (phase, .now) }

    /// Ends the waiting, and blocks until the server has confirmed that.
    ///
    /// - Returns: The session, for other commands.
    func finish() throws -> IMAPSession {
        switch phase {
        case .idling: try session.endIdle()
        case .ending: try session.endIdle(sends: false)
        case .starting:
            // The server takes DONE once it is ready.
            while try session.connection.line().first != UInt8(ascii: "+") {}
            try session.endIdle()
        }
        return session
    }

    /// Says goodbye, and does not wait for an answer.
    func leave() {
        if phase == .idling { try? session.connection.send("DONE") }
        try? session.connection.send("R0 LOGOUT")
    }
}
