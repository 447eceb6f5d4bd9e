import CurlClient
import Foundation
import MailFormat

/// The commands of IMAP4rev1 (RFC 3501) that a router needs, on a signed-in connection. These commands mark no message as read.
struct IMAPSession {
    let connection: CurlConnection
    var number = 0
    /// The tag of the current `IDLE`, or of the `STATUS` between two `IDLE` commands.
    var idleTag = ""
    /// Whether the server notified of messages since the inbox was opened. A list that was read before may lack these messages.
    var hasNews = false
    /// The UIDVALIDITY and UIDNEXT of the inbox when it was opened.
    private(set) var opened: Folder?
    /// The largest literal that is accepted, in bytes.
    let limit: Int

    init(_ connection: CurlConnection, limit: Int) {
        self.connection = connection
        self.limit = limit
    }

    /// How a folder numbers its messages. `next` is the next UID, or 0 if that is unknown.
    struct Folder: Equatable {
        let validity: UInt32
        let next: UInt32
    }

    /// Opens the inbox.
    ///
    /// - Parameter writes: Whether messages will be deleted or moved.
    mutating func open(writes: Bool) throws -> Folder {
        var validity: UInt32?
        var next: UInt32?
        try command(writes ? "SELECT INBOX" : "EXAMINE INBOX") { answer in
            validity = answer.number(after: "UIDVALIDITY") ?? validity
            next = answer.number(after: "UIDNEXT") ?? next
        }
        hasNews = false
        guard let validity else {
            throw MailError.protocolError("the server gives its inbox no UIDVALIDITY (RFC 3501 section 2.3.1.1)")
        }
        let folder = Folder(validity: validity, next: next ?? 0)
        opened = folder
        return folder
    }

    /// A message of the inbox.
    struct Listed {
        let uid: UInt32
        let size: Int
        let arrivedOn: Date?
    }

    /// Lists messages of the inbox from a UID on, in ascending order.
    ///
    /// - Parameters:
    ///   - next: The folder's next UID; 0 if it is unknown.
    ///   - limit: How many messages are listed at most.
    mutating func list(from uid: UInt32, next: UInt32, limit: Int) throws -> [Listed] {
        var found: [UInt32: Listed] = [:]
        // Asks for a window of UIDs, and widens it while it has few messages.
        var (start, width) = (UInt64(uid), UInt64(limit))
        while found.count < limit {
            let end = next == 0 ? nil : min(start + width, UInt64(next)) - 1
            try command("UID FETCH \(start):\(end.map(String.init) ?? "*") (UID RFC822.SIZE INTERNALDATE)") { answer in
                // `*` selects the last message, even if it is before the window (RFC 3501 section 6.4.8).
                guard let items = answer.fetched, let id: UInt32 = items["UID"]?.number(), id >= uid else { return }
                guard found.count < 1_000_000 else {
                    throw MailError.protocolError("the server lists more than a million messages")
                }
                found[id] = Listed(uid: id, size: items["RFC822.SIZE"]?.number() ?? 0, arrivedOn: Self.arrival(items))
            }
            guard let end, end + 1 < next else { break }
            (start, width) = (end + 1, width * 4)
        }
        return Array(found.values.sorted { $0.uid < $1.uid }.prefix(limit))
    }

    /// Fetches the messages with these UIDs, and passes each one to `body` as it arrives, with its time of delivery. The server may
    /// omit some messages.
    ///
    /// - Throws: ``MailError/refused(_:)`` when the server refuses; ``MailError/goodbye(_:)`` when it ends the session.
    mutating func fetch(_ uids: [UInt32], _ body: (UInt32, [UInt8], Date?) throws -> Void) throws {
        try command("UID FETCH \(uids.map(String.init).joined(separator: ",")) (UID INTERNALDATE BODY.PEEK[])") { answer in
            guard let items = answer.fetched, let uid: UInt32 = items["UID"]?.number(),
                let bytes = items.first(where: { $0.key.hasPrefix("BODY[]") || $0.key == "RFC822" })?.value.bytes
            else { return }
            try body(uid, bytes, Self.arrival(items))
        }
    }

    private static func arrival(_ items: [String: IMAPAnswer.Value]) -> Date? {
        items["INTERNALDATE"]?.bytes.flatMap { date($0[...]) }
    }

    /// Whether a message is in the inbox.
    mutating func isThere(_ uid: UInt32) throws -> Bool {
        var isThere = false
        try command("UID FETCH \(uid) (UID)") { answer in
            if let found: UInt32 = answer.fetched?["UID"]?.number(), found == uid { isThere = true }
        }
        return isThere
    }

    /// The Message-ID of a message, so that people can find it; nil if it has none.
    mutating func messageID(of uid: UInt32) throws -> String? {
        var id: String?
        try command("UID FETCH \(uid) (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])") { answer in
            guard let items = answer.fetched, let found: UInt32 = items["UID"]?.number(), found == uid else { return }
            id = items.first { $0.key.hasPrefix("BODY[HEADER") }?.value.bytes.flatMap { MailMessage($0).messageID }
        }
        return id.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Deletes messages permanently. Without UIDPLUS (RFC 4315) the messages are only marked as deleted.
    mutating func delete(_ uids: [UInt32]) throws {
        let set = uids.map(String.init).joined(separator: ",")
        try command("UID STORE \(set) +FLAGS.SILENT (\\Deleted)")
        try? command("UID EXPUNGE \(set)")
    }

    mutating func close() { try? command("LOGOUT") }

    mutating func command(_ text: String, _ body: (IMAPAnswer) throws -> Void = { _ in }) throws {
        number += 1
        let tag = "R\(number)"
        try connection.send("\(tag) \(text)")
        var failure: (any Error)?
        // Bounded: after an error the loop only reads the rest of the answer, and the connection's time limit ends it.
        while true {
            var answer = IMAPAnswer()
            var line = try connection.line()
            while let length = Self.literalLength(line) {
                guard length <= limit else { throw MailError.tooLarge(length) }
                answer.line += line
                answer.literals.append(try connection.bytes(length))
                line = try connection.line()
            }
            answer.line += line
            try finishQuoted(&answer, tag)
            if answer.starts(with: "* BYE"), !text.hasPrefix("LOGOUT") {
                throw MailError.goodbye("the server said goodbye: \(Self.words(answer.line.dropFirst(6), 200))")
            }
            if answer.starts(with: "* ") {
                if answer.tellsOfMessages { hasNews = true }
                // The response is read to its end, so that the connection stays usable.
                if failure == nil { do { try body(answer) } catch { failure = error } }
            } else if answer.starts(with: "\(tag) ") {
                guard answer.starts(with: "\(tag) OK") else {
                    throw MailError.refused("\(text.prefix(40)): \(Self.words(answer.line.dropFirst(tag.utf8.count + 1), 300))")
                }
                if let failure { throw failure }
                return
            }
        }
    }

    /// Reads the rest of a message that the server sends as a quoted string over several lines. RFC 3501 section 4.3 forbids quoted
    /// strings of several lines.
    private func finishQuoted(_ answer: inout IMAPAnswer, _ tag: String) throws {
        guard answer.starts(with: "* "), answer.hasOpenQuote, IMAPAnswer.uppercased(answer.line.prefix(40)).contains(" FETCH (")
        else { return }
        while answer.hasOpenQuote {
            let line = try connection.line(limit: limit)
            // A line with the command's tag shows that the string has no end. That line was the command's last response, so the
            // session can't be used further.
            guard !line.starts(with: "\(tag) ".utf8), answer.line.count + line.count <= limit else {
                throw MailError.goodbye("the server's quoted string has no end")
            }
            answer.line += [0x0D, 0x0A] + line
        }
    }

    /// A server's response text, shortened and on one line, for people.
    private static func words(_ bytes: ArraySlice<UInt8>, _ limit: Int) -> String {
        MailMessage.oneLine(String(decoding: bytes.prefix(limit), as: UTF8.self))
    }

    /// The length of the literal that a line announces at its end, as in `{123}` or `{123+}`.
    private static func literalLength(_ line: [UInt8]) -> Int? {
        guard line.last == UInt8(ascii: "}"), let open = line.lastIndex(of: UInt8(ascii: "{")) else { return nil }
        var digits = line[(open + 1)..<(line.count - 1)]
        if digits.last == UInt8(ascii: "+") { digits.removeLast() }
        guard !digits.isEmpty, digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) else { return nil }
        return Int(String(decoding: digits, as: UTF8.self)) ?? .max
    }

    /// Parses a date-time (RFC 3501 section 9), such as `24-Nov-2026 09:05:00 +0100`. A day of one digit has a space before it.
    static func date(_ text: ArraySlice<UInt8>) -> Date? {
        let bytes = Array(text.prefix(26))
        guard bytes.count == 26 else { return nil }
        func number(_ range: Range<Int>) -> Int? {
            Int(String(decoding: bytes[range], as: UTF8.self).trimmingCharacters(in: .whitespaces))
        }
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        guard let day = number(0..<2), let month = months.firstIndex(of: String(decoding: bytes[3..<6], as: UTF8.self).capitalized),
            let year = number(7..<11), let hour = number(12..<14), let minute = number(15..<17), let second = number(18..<20),
            let zone = number(22..<26)
        else { return nil }
        let components = DateComponents(year: year, month: month + 1, day: day, hour: hour, minute: minute, second: second)
        let offset = (zone / 100 * 60 + zone % 100) * 60 * (bytes[21] == UInt8(ascii: "-") ? -1 : 1)
        return utc.date(from: components)?.addingTimeInterval(-Double(offset))
    }

    private static let utc = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        return calendar
    }()
}
