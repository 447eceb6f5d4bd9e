import CurlClient
import MailFormat

/// The few commands of SMTP (RFC 5321) that a router needs, on a connection that is signed in.
struct SMTPSession {
    private let connection: CurlConnection
    private let pipelines: Bool
    private let takesUTF8: Bool
    private let sizeLimit: Int

    /// How the server took a message.
    enum Answer {
        case accepted
        /// Refused for now, or for good; nothing was sent.
        case refused(isPermanent: Bool, String)
        /// The connection broke before the answer to the last byte.
        case unknown(String)
    }

    init(_ connection: CurlConnection) throws {
        self.connection = connection
        try connection.send("EHLO localhost")
        let words = try Self.reply(connection).lines.map { $0.uppercased() }
        pipelines = words.contains("PIPELINING")
        takesUTF8 = words.contains("SMTPUTF8")
        sizeLimit = words.first { $0.hasPrefix("SIZE ") }.flatMap { Int($0.dropFirst(5)) } ?? 0
    }

    /// Sends one message. Every recipient has to be taken, or nothing is sent.
    ///
    /// - Parameter onReady: Called when the server is ready for the bytes; when it throws, none are sent.
    func send(_ message: [UInt8], from sender: String, to recipients: [String], onReady: () throws -> Void) throws -> Answer {
        guard sizeLimit == 0 || message.count <= sizeLimit else {
            return .refused(isPermanent: true, "552 the message has \(message.count) bytes, and the server takes \(sizeLimit)")
        }
        let isASCII = ([sender] + recipients).allSatisfy { $0.allSatisfy(\.isASCII) }
        guard isASCII || takesUTF8 else {
            return .refused(isPermanent: true, "550 an address is not in ASCII, and the server has no SMTPUTF8")
        }
        let commands = ["MAIL FROM:<\(sender)>\(isASCII ? "" : " SMTPUTF8")"] + recipients.map { "RCPT TO:<\($0)>" }
        var refusals: [(isPermanent: Bool, text: String)] = []
        // In pieces, so that neither side waits for the other to read.
        for start in stride(from: 0, to: commands.count, by: pipelines ? 100 : 1) {
            let piece = commands[start..<min(start + (pipelines ? 100 : 1), commands.count)]
            try connection.send(Array(piece.map { "\($0)\r\n" }.joined().utf8))
            for command in piece {
                let reply = try Self.reply(connection)
                if reply.code / 100 != 2 {
                    refusals.append((reply.code / 100 == 5, "\(command.drop { $0 != "<" }): \(reply.text)"))
                }
            }
            if refusals.count > 20 { break }
        }
        guard refusals.isEmpty else {
            try reset()
            return .refused(
                isPermanent: refusals.contains { $0.isPermanent }, refusals.prefix(20).map(\.text).joined(separator: "; "))
        }
        try connection.send("DATA")
        let ready = try Self.reply(connection)
        guard ready.code == 354 else {
            try reset()
            return .refused(isPermanent: ready.code / 100 == 5, ready.text)
        }
        try onReady()
        do {
            try connection.send(Self.stuffed(message))
            let reply = try Self.reply(connection)
            return reply.code / 100 == 2 ? .accepted : .refused(isPermanent: reply.code / 100 == 5, reply.text)
        } catch {
            return .unknown("\(error)")
        }
    }

    func close() { try? connection.send("QUIT") }

    private func reset() throws {
        try connection.send("RSET")
        _ = try Self.reply(connection)
    }

    /// Dots at the beginnings of lines doubled, and the end (RFC 5321 section 4.5.2).
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
