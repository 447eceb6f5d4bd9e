/// Classifies a mail server's response that refuses a sign-in.
enum SignInRefusal {
    /// Response codes with which a server says that it can't check the sign-in at the moment (RFC 5530, RFC 2449, RFC 3206). Some
    /// servers send only words, so the list has words too.
    private static let temporary = [
        "[UNAVAILABLE]", "[INUSE]", "[SERVERBUG]", "[LIMIT]", "[SYS/TEMP]", "[IN-USE]", "[LOGIN-DELAY]", "TEMPORAR", "TOO MANY",
        "SERVER UNAVAILABLE", "SERVICE UNAVAILABLE",
    ]

    /// True if the last line of a server's responses is about a temporary failure, so that the user name and the password may be
    /// right.
    static func isTemporary(_ answers: [UInt8]) -> Bool {
        guard let last = answers.split(whereSeparator: { $0 == 0x0A || $0 == 0x0D }).last else { return false }
        // SMTP's codes for temporary failures begin with 4 (RFC 5321 section 4.2.1).
        let code = last.prefix(3)
        if code.count == 3, code.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
            return code.first == UInt8(ascii: "4")
        }
        let text = String(decoding: last.prefix(1_000), as: UTF8.self).uppercased()
        return temporary.contains { text.contains($0) }
    }
}
