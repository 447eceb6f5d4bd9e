import CLibPQ

extension PostgresConnection {
    /// A password in the server's stored form (SCRAM-SHA-256, RFC 5803). The stored form is computed here, so no statement contains
    /// the password.
    public func verifier(ofPassword password: String, forRole role: String) throws -> String {
        let text = PQencryptPasswordConn(try open(), password, role, "scram-sha-256")
        defer { PQfreemem(text) }
        guard let text else { throw PostgresError(kind: .usage, message: "the password could not be hashed") }
        return String(cString: text)
    }
}
