import CurlClient

// Waiting for new messages (RFC 2177).
extension IMAPSession {
    /// Whether the server can notify of new messages (`IDLE`).
    mutating func canIdle() -> Bool {
        var can = false
        try? command("CAPABILITY") { answer in
            let words = IMAPAnswer.uppercased(answer.line[...]).split(separator: " ")
            if words.dropFirst().first == "CAPABILITY", words.contains("IDLE") { can = true }
        }
        return can
    }

    /// Asks the server to notify of new messages.
    ///
    /// - Throws: ``MailError/refused(_:)`` when the server refuses.
    mutating func startIdle() throws {
        try beginIdle()
        while true {
            let line = try connection.line()
            if line.first == UInt8(ascii: "+") { return }
            if try noteIdle(line) { throw MailError.refused("the server refuses IDLE") }
        }
    }

    /// Sends `IDLE`, and does not wait for the response.
    mutating func beginIdle() throws {
        number += 1
        idleTag = "R\(number)"
        try connection.send("\(idleTag) IDLE")
    }

    /// Ends the `IDLE` that ``beginIdle()`` began, and waits until the server has confirmed the end.
    mutating func endIdle(sends: Bool = true) throws {
        if sends { try connection.send("DONE") }
        while try !noteIdle(try connection.line()) {}
    }

    /// Requests the inbox's UIDVALIDITY and UIDNEXT, and does not wait for the response.
    mutating func beginStatus() throws {
        number += 1
        idleTag = "R\(number)"
        try connection.send("\(idleTag) STATUS INBOX (UIDVALIDITY UIDNEXT)")
    }

    /// Handles a line of the response to ``beginStatus()``. If the numbers differ from those with which the inbox was opened, there
    /// are new messages.
    ///
    /// - Returns: Whether the line ends the command.
    /// - Throws: ``MailError/goodbye(_:)``.
    mutating func noteStatus(_ line: [UInt8]) throws -> Bool {
        if let folder = IMAPAnswer(line: line).folder, let opened, opened.next != 0, folder != opened { hasNews = true }
        return try noteIdle(line)
    }

    /// Handles a line that the server sent during `IDLE`.
    ///
    /// - Returns: Whether the line ends the command.
    /// - Throws: ``MailError/goodbye(_:)``.
    mutating func noteIdle(_ line: [UInt8]) throws -> Bool {
        let answer = IMAPAnswer(line: line)
        if answer.starts(with: "* BYE") { throw MailError.goodbye("the server said goodbye") }
        if answer.tellsOfMessages { hasNews = true }
        return answer.starts(with: "\(idleTag) ")
    }
}

extension IMAPAnswer {
    /// The numbers in a response of `STATUS`; nil for any other line.
    var folder: IMAPSession.Folder? {
        guard starts(with: "* STATUS ") else { return nil }
        let text = Self.uppercased(line.suffix(200))
        let words = text[(text.lastIndex(of: "(") ?? text.startIndex)...].split { " ()".contains($0) }
        func number(after name: String) -> UInt32? {
            words.firstIndex { $0 == name }.flatMap { words.indices.contains($0 + 1) ? UInt32(words[$0 + 1]) : nil }
        }
        guard let validity = number(after: "UIDVALIDITY"), let next = number(after: "UIDNEXT") else { return nil }
        return .init(validity: validity, next: next)
    }

    /// Whether the line gives the number of messages. Servers send this number when a message arrives.
    var tellsOfMessages: Bool {
        let words = line.prefix(40).split(separator: 0x20)
        guard words.count >= 3, words[0] == [UInt8(ascii: "*")], words[1].allSatisfy({ (0x30...0x39).contains($0) }) else {
            return false
        }
        let name = Self.uppercased(words[2])
        return name == "EXISTS" || name == "RECENT" && words[1] != [UInt8(ascii: "0")]
    }
}
