import CurlClient
import Foundation

/// The few commands of IMAP4rev1 (RFC 3501) that a router needs, on a connection that is signed in. Nothing is marked as read.
struct IMAPSession {
    private let connection: CurlConnection
    private var number = 0
    /// Bytes of a literal at most.
    let limit: Int

    init(_ connection: CurlConnection, limit: Int) {
        self.connection = connection
        self.limit = limit
    }

    /// An untagged answer; literals stand apart from the line that they belong to.
    private struct Untagged {
        var line = ""
        var literals: [[UInt8]] = []
    }

    /// A folder's state.
    struct Folder {
        let validity: UInt32
        let next: UInt32
    }

    /// Opens the inbox.
    ///
    /// - Parameter writes: Whether messages are to be deleted.
    mutating func open(writes: Bool) throws -> Folder {
        var validity: UInt32?
        var next: UInt32?
        try command(writes ? "SELECT INBOX" : "EXAMINE INBOX") { answer in
            if let match = answer.line.firstMatch(of: /\[UIDVALIDITY ([0-9]{1,10})\]/) { validity = UInt32(match.1) }
            if let match = answer.line.firstMatch(of: /\[UIDNEXT ([0-9]{1,10})\]/) { next = UInt32(match.1) }
        }
        guard let validity else {
            throw MailError.protocolError("the server gives its inbox no UIDVALIDITY (RFC 3501 section 2.3.1.1)")
        }
        return Folder(validity: validity, next: next ?? 0)
    }

    /// What is in the inbox from a UID on: UID, size and when it arrived, in ascending order.
    mutating func list(from uid: UInt32) throws -> [(uid: UInt32, size: Int, arrivedOn: Date?)] {
        var found: [(uid: UInt32, size: Int, arrivedOn: Date?)] = []
        try command("UID FETCH \(uid):* (UID RFC822.SIZE INTERNALDATE)") { answer in
            guard let match = answer.line.firstMatch(of: /[( ]UID ([0-9]{1,10})/), let id = UInt32(match.1), id >= uid else {
                return
            }
            let size = answer.line.firstMatch(of: /RFC822\.SIZE ([0-9]{1,18})/).flatMap { Int($0.1) } ?? 0
            let date = answer.line.firstMatch(of: /INTERNALDATE "([^"]{1,40})"/).flatMap { Self.date(String($0.1)) }
            found.append((id, size, date))
        }
        return found.sorted { $0.uid < $1.uid }
    }

    /// The messages with these UIDs, each given as it comes.
    mutating func fetch(_ uids: [UInt32], _ body: (UInt32, [UInt8]) throws -> Void) throws {
        try command("UID FETCH \(uids.map(String.init).joined(separator: ",")) (UID BODY.PEEK[])") { answer in
            guard let match = answer.line.firstMatch(of: /[( ]UID ([0-9]{1,10})/), let uid = UInt32(match.1),
                let bytes = answer.literals.first
            else { return }
            try body(uid, bytes)
        }
    }

    /// Deletes messages for good. Without UIDPLUS (RFC 4315) they are only marked.
    mutating func delete(_ uids: [UInt32]) throws {
        let set = uids.map(String.init).joined(separator: ",")
        try command("UID STORE \(set) +FLAGS.SILENT (\\Deleted)")
        try? command("UID EXPUNGE \(set)")
    }

    /// Moves messages into another folder, which is made where it is not there.
    mutating func move(_ uids: [UInt32], to folder: String) throws {
        let set = uids.map(String.init).joined(separator: ",")
        // A quoted string (RFC 3501 section 4.3); other characters would need the mailbox names' own encoding.
        let isPlain = folder.utf8.allSatisfy { (0x20..<0x7F).contains($0) && $0 != UInt8(ascii: "&") }
        let name = isPlain ? folder.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") : "Undeliverable"
        // It is there already, mostly.
        try? command("CREATE \"\(name)\"")
        try command("UID COPY \(set) \"\(name)\"")
        try delete(uids)
    }

    mutating func close() { try? command("LOGOUT") }

    private mutating func command(_ text: String, _ body: (Untagged) throws -> Void = { _ in }) throws {
        number += 1
        let tag = "R\(number)"
        try connection.send("\(tag) \(text)")
        var failure: (any Error)?
        while true {
            var answer = Untagged()
            var line = String(decoding: try connection.line(), as: UTF8.self)
            while let match = line.firstMatch(of: /\{([0-9]{1,18})\}$/) {
                guard let length = Int(match.1), length <= limit else { throw MailError.tooLarge(Int(match.1) ?? Int.max) }
                answer.line += line
                answer.literals.append(try connection.bytes(length))
                line = String(decoding: try connection.line(), as: UTF8.self)
            }
            answer.line += line
            if answer.line.hasPrefix("* BYE"), !text.hasPrefix("LOGOUT") {
                throw MailError.protocolError("the server said goodbye: \(answer.line.dropFirst(6).prefix(200))")
            }
            if answer.line.hasPrefix("* ") {
                // What was sent is read to its end, so that the connection can go on.
                if failure == nil { do { try body(answer) } catch { failure = error } }
            } else if answer.line.hasPrefix("\(tag) ") {
                guard answer.line.hasPrefix("\(tag) OK") else {
                    throw MailError.protocolError("\(text.prefix(40)): \(answer.line.dropFirst(tag.count + 1).prefix(300))")
                }
                if let failure { throw failure }
                return
            }
        }
    }

    /// RFC 3501 section 9, date-time.
    private static func date(_ text: String) -> Date? {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.dateFormat = "dd-MMM-yyyy HH:mm:ss Z"
        return formatter.date(from: text.trimmingCharacters(in: .whitespaces))
    }
}
