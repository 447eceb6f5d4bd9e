import CurlClient
import Foundation

/// Fetches messages from a server that may refuse one, give nothing of it, or hang up at it: that one alone is not fetched.
struct IMAPFetcher {
    /// Connections that may end while messages are fetched, before it is the server that is at fault.
    private static let lossLimit = 5

    private(set) var session: IMAPSession
    private let validity: UInt32
    private let reconnect: () throws -> IMAPSession
    private let writes: Bool
    private var losses = 0
    /// The last error that ended a connection and was recovered from.
    private(set) var loss: (any Error)?

    /// A message that was not fetched.
    struct Failure {
        let uid: UInt32
        let messageID: String?
        let reason: String
    }

    /// - Parameters:
    ///   - session: It has the inbox open.
    ///   - reconnect: Signs in anew.
    init(_ session: IMAPSession, validity: UInt32, writes: Bool, reconnect: @escaping () throws -> IMAPSession) {
        (self.session, self.validity, self.writes, self.reconnect) = (session, validity, writes, reconnect)
    }

    /// Runs commands on the session that is open.
    mutating func withSession<Result>(_ body: (inout IMAPSession) throws -> Result) rethrows -> Result { try body(&session) }

    /// Fetches messages, each given as it comes; then, one by one, those that were not among them.
    ///
    /// - Returns: Those that are there and could not be fetched.
    /// - Throws: What `take` throws, and errors of a server that fails altogether.
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
                // One of them it is.
            }
        }
        var failures: [Failure] = []
        for uid in uids where missing.contains(uid) && !isStopped() {
            do {
                try session.fetch([uid], given)
                guard missing.contains(uid) else { continue }
                try fail(uid, "the server gives nothing of it", &failures, gone)
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

    /// Notes a message that is still there.
    private mutating func fail(_ uid: UInt32, _ reason: String, _ failures: inout [Failure], _ gone: (UInt32) -> Void) throws {
        do {
            // Another program may have deleted it meanwhile.
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
            throw MailError.protocolError("the inbox was numbered anew while it was read")
        }
    }

    /// Whether nothing more can be said on a connection after an error.
    private static func isLoss(_ error: any Error) -> Bool {
        switch error {
        case is CurlError, MailError.goodbye, MailError.tooLarge: true
        default: false
        }
    }

    private static func words(_ error: any Error) -> String { (error as? CurlError)?.reason ?? "\(error)" }
}
