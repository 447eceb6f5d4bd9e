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
        /// Its place among the messages to which the server gives the same id, although ids are unique.
        fileprivate(set) var place = 1

        /// The id under which the service knows the message. A server that was restored from a backup may give a unique id again,
        /// to another message. The size tells them apart.
        var id: String { place == 1 ? "\(uidl) \(size)" : "\(uidl) \(size) \(place)" }

        fileprivate init(number: Int, uidl: String, size: Int) {
            self.uidl =
                uidl.utf8.count <= POP3Session.idLimit
                ? uidl : "sha256:\(Data(SHA256.hash(data: Data(uidl.utf8))).base64EncodedString())"
            (self.number, self.size) = (number, size)
        }
    }

    /// The longest unique id (RFC 1939 section 7).
    private static let idLimit = 70

    /// The messages of a mailbox.
    struct Listing {
        let messages: [Listed]
        /// The numbers of messages without a unique id, which can't be told apart from others.
        let unnamed: [Int]
    }

    /// Lists the messages.
    func list() throws -> Listing {
        try command("LIST")
        var sizes: [Int: Int] = [:]
        for line in try lines() {
            let parts = line.split(whereSeparator: \.isWhitespace)
            // A server may give no size.
            if let number = parts.first.flatMap({ Int($0) }) { sizes[number] = parts.count > 1 ? Int(parts[1]) ?? 0 : 0 }
        }
        try command("UIDL")
        var places: [String: Int] = [:]
        let messages = try lines().compactMap { line -> Listed? in
            let parts = line.split(whereSeparator: \.isWhitespace)
            guard parts.count >= 2, let number = Int(parts[0]) else { return nil }
            var message = Listed(number: number, uidl: String(parts[1]), size: sizes[number] ?? 0)
            places[message.id, default: 0] += 1
            message.place = places[message.id] ?? 1
            return message
        }
        return Listing(messages: messages, unnamed: Set(sizes.keys).subtracting(messages.map(\.number)).sorted())
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

    private func lines() throws -> [String] {
        var lines: [String] = []
        while true {
            let line = String(decoding: try connection.line(), as: UTF8.self)
            if line == "." { return lines }
            guard lines.count < 1_000_000 else { throw MailError.protocolError("the server lists more than a million messages") }
            lines.append(line)
        }
    }
}
