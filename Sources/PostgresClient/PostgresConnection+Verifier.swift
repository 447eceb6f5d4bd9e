import CLibPQ

extension PostgresConnection {
    /// A password as the server stores it (SCRAM-SHA-256, RFC 5803), made on this side: the password itself is in no statement.
    public func verifier(ofPassword password: String, forRole role: String) throws -> String {
        let text = PQencryptPasswordConn(try open(), password, role, "scram-sha-256")
        defer { PQfreemem(text) }
        guard let text else { throw PostgresError(kind: .usage, message: "the password could not be hashed") }
        return String(cString: text)
    }
}
