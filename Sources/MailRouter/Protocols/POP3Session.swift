import Crypto
import CurlClient
import Foundation
import MailFormat

/// The commands of POP3 (RFC 1939) that a router needs, on a signed-in connection.
struct POP3Session {
    private let connection: CurlConnection
    /// The largest message in bytes.
    let limit: Int

    init(_ connection: CurlConnection, limit: Int) {
        self.connection = connection
        self.limit = limit
    }

    /// A message of the mailbox.
    struct Listed {
        let number: Int
        /// The server's unique id (UIDL); its digest if it is longer than RFC 1939 allows.
        let uidl: String
        let size: Int
        /// The id under which the service knows the message. A server that was restored from a backup may give a unique id again,
        /// to another message. The size distinguishes the two messages. If the server gives several messages the same id, against
        /// the standard, each message after the first also has its position among these messages.
        fileprivate(set) var id: String

        fileprivate init(number: Int, uidl: String, size: Int) {
            self.uidl =
                uidl.utf8.count <= POP3Session.idLimit
                ? uidl : "sha256:\(Data(SHA256.hash(data: Data(uidl.utf8))).base64EncodedString())"
            (self.number, self.size) = (number, size)
            id = self.uidl + " " + String(size)
        }
    }

    /// The longest unique id (RFC 1939 section 7).
    private static let idLimit = 70

    /// The messages of a mailbox.
    struct Listing {
        let messages: [Listed]
        /// The numbers of messages without a unique id, which can't be distinguished from other messages.
        let unnamed: [Int]
    }

    /// Lists the messages.
    func list() throws -> Listing {
        try command("LIST")
        var sizes: [Int: Int] = [:]
        for line in try lines() {
            // A server may give no size.
            if let (number, word) = Self.entry(line) { sizes[number] = Int(String(decoding: word, as: UTF8.self)) ?? 0 }
        }
        try command("UIDL")
        var messages: [Listed] = []
        messages.reserveCapacity(sizes.count)
        var places: [String: Int] = [:]
        places.reserveCapacity(sizes.count)
        for line in try lines() {
            guard let (number, word) = Self.entry(line), !word.isEmpty else { continue }
            var message = Listed(number: number, uidl: String(decoding: word, as: UTF8.self), size: sizes[number] ?? 0)
            let place = places[message.id, default: 0] + 1
            places[message.id] = place
            if place > 1 { message.id += " \(place)" }
            messages.append(message)
        }
        return Listing(messages: messages, unnamed: Set(sizes.keys).subtracting(messages.map(\.number)).sorted())
    }

    /// The number of a message at the beginning of a line, and the word after it; nil for a line that does not begin with a number.
    private static func entry(_ line: [UInt8]) -> (number: Int, word: ArraySlice<UInt8>)? {
        func isSpace(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") }
        let text = line.drop(while: isSpace)
        let digits = text.prefix { !isSpace($0) }
        guard let number = Int(String(decoding: digits, as: UTF8.self)) else { return nil }
        return (number, text[digits.endIndex...].drop(while: isSpace).prefix { !isSpace($0) })
    }

    /// Fetches a message.
    ///
    /// - Throws: ``MailError/refused(_:)`` when the server refuses. The connection stays usable.
    func fetch(_ number: Int) throws -> [UInt8] {
        try command("RETR \(number)")
        var message: [UInt8] = []
        while true {
            let line = try connection.line(limit: limit)
            if line == [UInt8(ascii: ".")] { return message }
            // Removes byte-stuffing (RFC 1939 section 3).
            message += line.first == UInt8(ascii: ".") ? line.dropFirst() : line[...]
            message += [0x0D, 0x0A]
            guard message.count <= limit else { throw MailError.tooLarge(message.count) }
        }
    }

    func delete(_ number: Int) throws { try command("DELE \(number)") }

    /// Ends the session. The server then deletes the marked messages.
    func close() throws { try command("QUIT") }

    private func command(_ text: String) throws {
        try connection.send(text)
        let answer = String(decoding: try connection.line(), as: UTF8.self)
        guard answer.uppercased().hasPrefix("+OK") else {
            throw MailError.refused("\(text): \(MailMessage.oneLine(String(answer.prefix(300))))")
        }
    }

    private func lines() throws -> [[UInt8]] {
        var lines: [[UInt8]] = []
        while true {
            let line = try connection.line()
            if line == [UInt8(ascii: ".")] { return lines }
            guard lines.count < 1_000_000 else { throw MailError.protocolError("the server lists more than a million messages") }
            lines.append(line)
        }
    }
}
