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

    /// - Returns: Nil where the server does not say.
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
