import CurlClient
import Foundation
import RouterProtocol

/// Gives one turn its connection to the incoming server: the one that waited for new messages, or a new one.
final class IncomingAccess {
    private let turn: MailboxTurn
    private var login: MailLogin?
    private var user = ""
    private var passwordTag: [UInt8] = []
    /// The server's host and port. Before host and port are known, the words `the mail server`.
    private(set) var server = "the mail server"

    init(_ turn: MailboxTurn) { self.turn = turn }

    /// Signs in to the incoming server. A turn requests the credential from the service only once.
    func connect(_ scheme: MailServer.Scheme, implicitPort: Int) throws -> CurlConnection {
        let login = try self.login ?? turn.login(.incoming)
        self.login = login
        (server, user) = ("\(login.server):\(login.port)", login.userName ?? "")
        passwordTag = turn.idle.tag(of: login.password)
        return try turn.connect(login, scheme, implicitPort: implicitPort)
    }

    /// The session that waited for new messages, with the inbox open again; nil if there is none, or its connection is broken.
    func keptSession(writes: Bool) -> (IMAPSession, IMAPSession.Folder)? {
        guard let kept = turn.idle.take(turn.mailbox.mailboxId) else { return nil }
        // The mailbox's credential or server may have changed since the connection was opened.
        guard kept.revision == turn.mailbox.revision, !turn.mailbox.tests, var session = try? kept.finish(),
            let folder = try? session.open(writes: writes)
        else { return nil }
        (server, user, passwordTag) = (kept.server, kept.user, kept.passwordTag)
        return (session, folder)
    }

    /// Makes a session wait for new messages, or ends the session.
    ///
    /// - Parameter isComplete: Whether the turn processed all messages.
    func wait(on session: inout IMAPSession, isComplete: Bool) -> IdleConnection? {
        let mailbox = turn.mailbox.mailboxId
        guard isComplete, turn.configuration.idleConnections > 0, !turn.isStopped(),
            turn.idle.hasRoom(for: mailbox, user: user, at: server), session.canIdle()
        else {
            session.close()
            return nil
        }
        do {
            try session.startIdle()
        } catch {
            turn.idle.giveUp(mailbox)
            return nil
        }
        return IdleConnection(
            session, mailbox: mailbox, revision: turn.mailbox.revision, server: server, user: user, passwordTag: passwordTag)
    }
}
