import CurlClient
import MailFormat

/// The commands of SMTP (RFC 5321) that a router needs, on a signed-in connection.
final class SMTPSession {
    /// Seconds for the server's final answer to a message (RFC 5321 section 4.5.3.2.6).
    private static let finalAnswerSeconds = 600
    /// How many recipients every server accepts in one transaction (RFC 5321 section 4.5.3.1.8).
    private static let certainRecipients = 100
    private static let farewellCode = 421

    private let connection: CurlConnection
    private let pipelines: Bool
    private let takesUTF8: Bool
    private let takes8Bit: Bool
    /// The largest message in bytes: 0 if the server does not say; nil if it does not support SIZE.
    private let sizeLimit: Int?
    /// How many recipients the server accepts in one transaction (RFC 9422); `Int.max` if it does not say.
    private let recipientLimit: Int
    /// The last reply, if the server ends the session after it (code 421, RFC 5321 section 3.8).
    private var farewell: String?

    /// The server's response to a message.
    enum Answer {
        case accepted
        /// Refused temporarily or permanently, for all recipients.
        case refused(isPermanent: Bool, String)
        /// The message was sent in several transactions. The server accepted the first transactions, and refused a later one.
        case partly(String)
        /// The connection broke before the response to the last byte.
        case unknown(String)
    }

    init(_ connection: CurlConnection) throws {
        self.connection = connection
        try connection.send("EHLO localhost")
        var greeting = try Self.reply(connection)
        if greeting.code / 100 == 5 {
            try connection.send("HELO localhost")
            greeting = Reply(code: try Self.reply(connection).code, lines: [])
        }
        guard greeting.code != Self.farewellCode else { throw MailError.ended(greeting.text) }
        guard greeting.code / 100 == 2 else { throw MailError.protocolError("EHLO: \(greeting.text)") }
        let words = greeting.lines.map { $0.uppercased() }
        pipelines = words.contains("PIPELINING")
        takesUTF8 = words.contains("SMTPUTF8")
        takes8Bit = words.contains("8BITMIME")
        sizeLimit = words.first { $0 == "SIZE" || $0.hasPrefix("SIZE ") }.map { Int($0.dropFirst(5)) ?? 0 }
        let limits = words.first { $0.hasPrefix("LIMITS ") }?.split(separator: " ") ?? []
        recipientLimit = limits.lazy.compactMap { $0.hasPrefix("RCPTMAX=") ? Int($0.dropFirst(8)) : nil }.first { $0 > 0 } ?? .max
    }

    /// Sends one message. If the server refuses a recipient, the message is sent to no recipient.
    ///
    /// - Parameters:
    ///   - onReady: Called when the server is ready for the message. If `onReady` throws, nothing is sent.
    ///   - onWait: Called repeatedly while the server's final response is pending.
    /// - Throws: ``MailError/ended(_:)`` with the server's last text, if it sent one before it ended the session; otherwise the
    ///   connection's error.
    func send(
        _ message: [UInt8], from sender: String, to recipients: [String], onReady: () throws -> Void, onWait: () -> Void
    ) throws -> Answer {
        do {
            return try attempt(message, from: sender, to: recipients, onReady: onReady, onWait: onWait)
        } catch let error as CurlError {
            throw farewell.map { MailError.ended($0) } ?? error
        }
    }

    private func attempt(
        _ message: [UInt8], from sender: String, to recipients: [String], onReady: () throws -> Void, onWait: () -> Void
    ) throws -> Answer {
        for address in [sender] + recipients where !EmailAddress.isOne(address) {
            return .refused(isPermanent: true, "553 \(MailMessage.oneLine(address)) is not an e-mail address")
        }
        guard !recipients.isEmpty else { return .refused(isPermanent: true, "554 the e-mail has no recipient") }
        guard (sizeLimit ?? 0) == 0 || message.count <= sizeLimit ?? 0 else {
            return .refused(isPermanent: true, "552 the message has \(message.count) bytes, and the server takes \(sizeLimit ?? 0)")
        }
        let wire = recipients.map { EmailAddress.onTheWire($0) }
        let from = EmailAddress.onTheWire(sender)
        if let address = ([from] + wire).first(where: \.needsUTF8)?.address, !takesUTF8 {
            return .refused(isPermanent: true, "550 \(address) is not in ASCII before the @, and the server has no SMTPUTF8")
        }
        var command = "MAIL FROM:<\(from.address)>"
        if sizeLimit != nil { command += " SIZE=\(message.count)" }
        if takes8Bit, message.contains(where: { $0 > 0x7F }) { command += " BODY=8BITMIME" }
        if ([from] + wire).contains(where: \.needsUTF8) { command += " SMTPUTF8" }
        let addresses = wire.map(\.address)
        let first = try offer(command, Array(addresses.prefix(recipientLimit)))
        if let refusal = first.refusal { return refusal }
        if first.accepted == addresses.count { return try hand(over: message, onReady: onReady, onWait: onWait) }
        try reset()
        return try send(message, command, addresses, by: first.accepted, onReady: onReady, onWait: onWait)
    }

    /// Sends a message in several transactions, because the server limits the recipients of one transaction. First asks the server
    /// to accept all recipients, so that no recipient gets the message if another recipient is refused.
    private func send(
        _ message: [UInt8], _ command: String, _ addresses: [String], by size: Int, onReady: () throws -> Void, onWait: () -> Void
    ) throws -> Answer {
        let groups = stride(from: 0, to: addresses.count, by: size).map { Array(addresses[$0..<min($0 + size, addresses.count)]) }
        for group in groups {
            let offered = try offer(command, group)
            if let refusal = offered.refusal { return refusal }
            try reset()
            guard offered.accepted == group.count else {
                return .refused(
                    isPermanent: false, "452 the server accepts \(offered.accepted) recipients now, and accepted \(size) before")
            }
        }
        var done = 0
        for group in groups {
            let answer: Answer
            do {
                let offered = try offer(command, group)
                if let refusal = offered.refusal {
                    answer = refusal
                } else if offered.accepted == group.count {
                    answer = try hand(over: message, onReady: done == 0 ? onReady : {}, onWait: onWait)
                } else {
                    try reset()
                    answer = .refused(isPermanent: false, "452 too many recipients")
                }
            } catch  where done > 0 {
                // The connection broke between two transactions.
                answer = .refused(isPermanent: false, "\(error)")
            }
            switch answer {
            case .accepted: done += group.count
            case .unknown(let text):
                return .unknown(
                    "\(text)\(done == 0 ? "" : "; the server took the message for the first \(done) recipients before")")
            case .refused(_, let text) where done > 0:
                let rest = addresses.dropFirst(done)
                let others = rest.prefix(50).joined(separator: ", ") + (rest.count > 50 ? ", … (+\(rest.count - 50))" : "")
                return .partly(
                    "The mail server took the message for \(done) of \(addresses.count) recipients, and then answered: \(text). "
                        + "It was not sent to \(others)."
                )
            case .refused, .partly: return answer
            }
        }
        return .accepted
    }

    /// Begins a transaction.
    ///
    /// - Returns: `accepted`: the number of accepted recipients, which is smaller than requested if the server limits the number.
    ///   `refusal`: the reason if the server refused a recipient. Then no transaction is open.
    private func offer(_ command: String, _ addresses: [String]) throws -> (accepted: Int, refusal: Answer?) {
        let commands = [command] + addresses.map { "RCPT TO:<\($0)>" }
        var refusals: [(isPermanent: Bool, text: String)] = []
        var accepted = 0
        var isFull = false
        // The commands are sent in groups, so that neither side blocks while the other side writes.
        let width = pipelines ? 100 : 1
        for start in stride(from: 0, to: commands.count, by: width) where !isFull && refusals.count <= 20 {
            let piece = commands[start..<min(start + width, commands.count)]
            try connection.send(Array(piece.map { "\($0)\r\n" }.joined().utf8))
            for (index, command) in piece.enumerated() {
                let reply = try reply()
                if reply.code / 100 == 2 {
                    // Only recipients before the first refused recipient count, because the next transaction continues there.
                    if start + index > 0, !isFull { accepted += 1 }
                } else if isFull || start + index > 0 && refusals.isEmpty && Self.isTooMany(reply, accepted) {
                    isFull = true
                } else {
                    refusals.append((reply.code / 100 == 5, "\(command.drop { $0 != "<" }): \(reply.text)"))
                }
            }
        }
        guard !refusals.isEmpty || accepted == 0 else { return (accepted, nil) }
        try reset()
        return (
            accepted,
            .refused(
                isPermanent: refusals.contains { $0.isPermanent },
                refusals.isEmpty ? "452 no recipient was accepted" : refusals.prefix(20).map(\.text).joined(separator: "; "))
        )
    }

    /// Whether a reply means that the next recipients need another transaction (RFC 5321 section 4.5.3.1.10).
    private static func isTooMany(_ reply: Reply, _ accepted: Int) -> Bool {
        let words = reply.text.lowercased()
        return accepted > 0
            && (words.contains("4.5.3") || words.contains("5.5.3") || words.contains("too many")
                || (reply.code == 452 || reply.code == 552) && accepted >= certainRecipients)
    }

    private func hand(over message: [UInt8], onReady: () throws -> Void, onWait: () -> Void) throws -> Answer {
        try connection.send("DATA")
        let ready = try reply()
        guard ready.code == 354 else {
            try reset()
            return .refused(isPermanent: ready.code / 100 == 5, ready.text)
        }
        try onReady()
        do {
            try connection.send(Self.stuffed(message))
            try connection.wait(seconds: Self.finalAnswerSeconds, every: 20, onWait)
            let reply = try reply()
            return reply.code / 100 == 2 ? .accepted : .refused(isPermanent: reply.code / 100 == 5, reply.text)
        } catch {
            return .unknown((error as? CurlError)?.reason ?? "\(error)")
        }
    }

    func close() { try? connection.send("QUIT") }

    private func reset() throws {
        try connection.send("RSET")
        _ = try reply()
    }

    /// Doubles dots at the beginnings of lines, and adds the end mark (RFC 5321 section 4.5.2).
    static func stuffed(_ message: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(message.count + message.count / 50 + 5)
        var isLineStart = true
        for byte in message {
            if isLineStart, byte == UInt8(ascii: ".") { result.append(byte) }
            result.append(byte)
            isLineStart = byte == UInt8(ascii: "\n")
        }
        if !isLineStart { result += [0x0D, 0x0A] }
        return result + Array(".\r\n".utf8)
    }

    private struct Reply {
        let code: Int
        let lines: [String]
        var text: String { "\(code) \(lines.joined(separator: " "))" }
    }

    /// Reads a reply. If the server ends the session after this reply, keeps the reply's text in ``farewell``.
    private func reply() throws -> Reply {
        let reply = try Self.reply(connection)
        farewell = reply.code == Self.farewellCode ? reply.text : nil
        return reply
    }

    private static func reply(_ connection: CurlConnection) throws -> Reply {
        var lines: [String] = []
        while true {
            let line = String(decoding: try connection.line(), as: UTF8.self)
            guard line.utf8.count >= 3, let code = Int(line.prefix(3)), lines.count < 200 else {
                throw MailError.protocolError("the server's reply is not one of SMTP")
            }
            lines.append(MailMessage.oneLine(String(line.dropFirst(4).prefix(500))))
            if line.dropFirst(3).first != "-" { return Reply(code: code, lines: lines) }
        }
    }
}
