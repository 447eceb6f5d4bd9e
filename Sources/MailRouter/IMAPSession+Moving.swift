// Moving messages.
extension IMAPSession {
    /// Moves messages into another folder, which is made where it is not there.
    ///
    /// - Throws: ``MailError/refused(_:)`` where the server refuses, and where the folder is the inbox itself: what is moved there is a
    ///   new message, which would be moved again, without end.
    mutating func move(_ uids: [UInt32], to folder: String) throws {
        let set = uids.map(String.init).joined(separator: ",")
        let name = IMAPFolderName.quoted(folder)
        guard !IMAPFolderName.isInbox(folder) else { throw MailError.refused("the folder is the inbox itself") }
        // It is there already, mostly.
        try? command("CREATE \(name)")
        if let there = try numbers(of: name), there == (try numbers(of: "INBOX")) {
            throw MailError.refused("the folder is the inbox itself under another name")
        }
        try command("UID COPY \(set) \(name)")
        try delete(uids)
    }

    /// How a folder numbers its messages.
    private struct Numbers: Equatable {
        let validity: String
        let next: String
    }

    /// - Returns: Nil where the server does not say.
    private mutating func numbers(of folder: String) throws -> Numbers? {
        var found: Numbers?
        do {
            try command("STATUS \(folder) (UIDVALIDITY UIDNEXT)") { answer in
                guard answer.starts(with: "* STATUS ") else { return }
                let text = IMAPAnswer.uppercased(answer.line.suffix(200))
                let words = text[(text.lastIndex(of: "(") ?? text.startIndex)...].split { " ()".contains($0) }
                guard let validity = words.firstIndex(of: "UIDVALIDITY"), let next = words.firstIndex(of: "UIDNEXT"),
                    max(validity, next) + 1 < words.count
                else { return }
                found = Numbers(validity: String(words[validity + 1]), next: String(words[next + 1]))
            }
        } catch MailError.refused {
            return nil
        }
        return found
    }
}
