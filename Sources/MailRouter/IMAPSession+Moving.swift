// Moving messages.
extension IMAPSession {
    /// Moves messages into another folder. Creates the folder if it is missing.
    ///
    /// - Throws: ``MailError/refused(_:)`` if the server refuses, or if the folder is the inbox itself. A message that is moved
    ///   into the inbox counts as new, so the router would move it again in every turn.
    mutating func move(_ uids: [UInt32], to folder: String) throws {
        let set = uids.map(String.init).joined(separator: ",")
        let name = IMAPFolderName.quoted(folder)
        guard !IMAPFolderName.isInbox(folder) else { throw MailError.refused("the folder is the inbox itself") }
        // Usually the folder exists, and the command fails.
        try? command("CREATE \(name)")
        if let there = try numbers(of: name), there == (try numbers(of: "INBOX")) {
            throw MailError.refused("the folder is the inbox itself under another name")
        }
        try command("UID COPY \(set) \(name)")
        try delete(uids)
    }

    /// - Returns: The folder's UIDVALIDITY and UIDNEXT; nil if the server does not give them.
    private mutating func numbers(of folder: String) throws -> Folder? {
        var found: Folder?
        do {
            try command("STATUS \(folder) (UIDVALIDITY UIDNEXT)") { answer in
                found = answer.folder ?? found
            }
        } catch MailError.refused {
            return nil
        }
        return found
    }
}
