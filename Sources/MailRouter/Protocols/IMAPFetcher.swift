import CurlClient
import Foundation

/// Fetches messages. If the server refuses a message, returns nothing for it, or disconnects instead of sending it, only that
/// message is not fetched.
struct IMAPFetcher {
    /// How many connections may end during a fetch before the server counts as failed.
    private static let lossLimit = 5

    private(set) var session: IMAPSession
    private let validity: UInt32
    private let reconnect: () throws -> IMAPSession
    private let writes: Bool
    private var losses = 0
    /// The last error after which the fetch continued on a new connection; nil if there was none.
    private(set) var loss: (any Error)?

    /// A message that was not fetched.
    struct Failure {
        let uid: UInt32
        let messageID: String?
        let reason: String
    }

    /// - Parameters:
    ///   - session: A session with the inbox open.
    ///   - reconnect: Signs in again.
    init(_ session: IMAPSession, validity: UInt32, writes: Bool, reconnect: @escaping () throws -> IMAPSession) {
        (self.session, self.validity, self.writes, self.reconnect) = (session, validity, writes, reconnect)
    }

    /// Runs commands on the open session.
    mutating func withSession<Result>(_ body: (inout IMAPSession) throws -> Result) rethrows -> Result { try body(&session) }

    /// Fetches messages and passes each one to `take`. Then fetches one by one the messages that the server did not return.
    ///
    /// - Returns: The messages that exist and could not be fetched.
    /// - Throws: The errors of `take`, and errors of a server that fails repeatedly.
    mutating func fetch(
        _ uids: [UInt32], isStopped: () -> Bool, _ take: (UInt32, [UInt8], Date?) throws -> Void, gone: (UInt32) -> Void
    ) throws -> [Failure] {
        var missing = Set(uids)
        func given(_ uid: UInt32, _ bytes: [UInt8], _ arrivedOn: Date?) throws {
            guard !bytes.isEmpty, missing.remove(uid) != nil else { return }
            try take(uid, bytes, arrivedOn)
        }
        if uids.count > 1 {
            do {
                try session.fetch(uids, given)
            } catch let error where Self.isLoss(error) {
                try recover(from: error)
            } catch MailError.refused {
                // One of these messages caused the refusal. The messages are fetched one by one below.
            }
        }
        var failures: [Failure] = []
        for uid in uids where missing.contains(uid) && !isStopped() {
            do {
                try session.fetch([uid], given)
                guard missing.contains(uid) else { continue }
                try fail(uid, "the server returns nothing for it", &failures, gone)
            } catch MailError.refused(let words) {
                try fail(uid, words, &failures, gone)
            } catch let error where Self.isLoss(error) {
                failures.append(
                    Failure(uid: uid, messageID: nil, reason: "the connection ended while it was fetched: \(Self.words(error))"))
                try recover(from: error, after: &failures)
            }
        }
        return failures
    }

    /// Notes a message that still exists and could not be fetched.
    private mutating func fail(_ uid: UInt32, _ reason: String, _ failures: inout [Failure], _ gone: (UInt32) -> Void) throws {
        do {
            // Another program may have deleted the message meanwhile.
            guard try session.isThere(uid) else { return gone(uid) }
            failures.append(Failure(uid: uid, messageID: try? session.messageID(of: uid), reason: reason))
        } catch let error where Self.isLoss(error) {
            failures.append(Failure(uid: uid, messageID: nil, reason: reason))
            try recover(from: error, after: &failures)
        } catch MailError.refused {
            failures.append(Failure(uid: uid, messageID: nil, reason: reason))
        }
    }

    private mutating func recover(from error: any Error) throws {
        var none: [Failure] = []
        try recover(from: error, after: &none)
    }

    private mutating func recover(from error: any Error, after failures: inout [Failure]) throws {
        losses += 1
        loss = error
        guard losses <= Self.lossLimit else { throw error }
        session = try reconnect()
        guard try session.open(writes: writes).validity == validity else {
            throw MailError.protocolError("the server renumbered the inbox while it was read")
        }
    }

    /// Whether an error makes the connection unusable.
    private static func isLoss(_ error: any Error) -> Bool {
        switch error {
        case is CurlError, MailError.goodbye, MailError.tooLarge: true
        default: false
        }
    }

    private static func words(_ error: any Error) -> String { (error as? CurlError)?.reason ?? "\(error)" }
}
