import CLibPQ

/// An error of PostgreSQL or of the connection to it.
///
/// The error has the SQLSTATE and the names of the objects, and never a parameter's or a row's value. The server's DETAIL may quote
/// such values, so the DETAIL is not kept.
public struct PostgresError: Error, Sendable, CustomStringConvertible {
    /// The kinds of failures, as callers distinguish them.
    public enum Kind: Sendable, Equatable {
        /// The server refused a statement.
        case server
        /// There is no connection. A statement that was running changed nothing: its transaction was not committed, or it only
        /// read.
        case connection
        /// A commit was sent, and its response did not arrive. It is unknown whether the transaction was committed.
        case unknownOutcome
        /// The caller was cancelled, or used the connection wrongly.
        case usage
    }

    /// The kind of the failure.
    public let kind: Kind
    /// The five characters of the SQLSTATE (PostgreSQL, Appendix A); empty when there is none.
    public let sqlState: String
    /// The server's primary message.
    public let message: String
    /// The server's hint.
    public let hint: String?
    /// The names of the objects that the error concerns, if the server reports them.
    public let schema: String?, table: String?, column: String?, constraint: String?
    /// The server process whose transaction has an unknown outcome; 0 otherwise.
    public let backend: Int32
    /// The session that held the lock for which the statement waited; nil if it is not known.
    public private(set) var lockHolder: LockHolder?
    /// The server's function that raised the error. Unlike the message, the function's name is the same in every language.
    private let routine: String?

    /// Whether the connection is lost, so that a new one may succeed.
    public var isConnectionLoss: Bool {
        kind == .connection || kind == .unknownOutcome || sqlState.hasPrefix("08") || sqlState.hasPrefix("57P")
    }

    /// Whether a new connection was refused, so that another attempt would fail too. The server refused the password, the address
    /// or the database, or libpq found that the connection string does not allow this server. False if no server responded.
    public var isRefusedConnection: Bool {
        guard kind == .connection, sqlState.isEmpty else { return false }
        // libpq's text has one part for each host that it tried.
        return !message.split(separator: "connection to server").allSatisfy { part in Self.absences.contains { part.contains($0) } }
    }

    /// libpq's messages if no server responds, or the server is not ready. The program runs in the locale C, so libpq's messages
    /// are not translated.
    private static let absences = [
        "could not translate host name", "Connection refused", "timeout expired", "Connection timed out", "No route to host",
        "Network is unreachable", "Host is down", "Is the server running", "the database system is",
        "closed the connection unexpectedly", "Connection reset by peer", "the connection to PostgreSQL failed",
    ]

    /// Whether a table changed after a statement's plan was prepared, or a pooler switched the server process.
    var isStalePlan: Bool { sqlState == "26000" || sqlState == "0A000" && routine == "RevalidateCachedQuery" }

    /// Whether PostgreSQL rolled the whole transaction back because of concurrent transactions: a serialization failure or a
    /// deadlock. Retrying the transaction is safe.
    public var isConflict: Bool { kind == .server && (state == .serializationFailure || state == .deadlock) }

    var isRetryable: Bool { isConflict || kind == .server && isStalePlan }

    /// Whether the server is read-only at the moment: it is a standby, or a setting forbids writes. The refused statement changed
    /// nothing.
    public var isReadOnly: Bool {
        switch sqlState {
        case "25006": true
        // The errors of a standby for unlogged tables, for locks, and for the position of the write-ahead log.
        case "0A000": routine == "get_relation_info"
        case "55000": ["LockAcquireExtended", "pg_current_wal_insert_lsn"].contains(routine)
        default: false
        }
    }

    /// Whether PostgreSQL ended the statement, by `statement_timeout` or a cancel request.
    public var isCancelledStatement: Bool { state == .queryCanceled }

    /// The message with its SQLSTATE, and a warning if the outcome of a change is unknown.
    public var description: String {
        let text = sqlState.isEmpty ? message : "\(message) [\(sqlState)]"
        guard kind == .unknownOutcome else { return text }
        return "the connection to PostgreSQL broke while a change was saved, so it is not known whether it was saved. Check "
            + "before you repeat it (\(text))"
    }

    /// An error that this program raises itself, without an SQLSTATE.
    public init(kind: Kind, message: String) {
        self.init(kind: kind, sqlState: "", message: message)
    }

    private init(kind: Kind, sqlState: String, message: String, backend: Int32 = 0) {
        self.kind = kind
        self.sqlState = sqlState
        self.message = message
        self.backend = backend
        (hint, schema, table, column, constraint, routine) = (nil, nil, nil, nil, nil, nil)
    }

    init(result: OpaquePointer?, connection: OpaquePointer?) {
        func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
        let state = field(Self.field("C")) ?? ""
        // An error of the server always has an SQLSTATE. An error of libpq, such as a failed write, has no SQLSTATE, and may occur
        // before libpq considers the connection broken.
        kind = PQstatus(connection) == CONNECTION_BAD || state.isEmpty ? .connection : .server
        sqlState = state
        message = field(Self.field("M")) ?? Self.message(of: connection)
        hint = field(Self.field("H"))
        schema = field(Self.field("s"))
        table = field(Self.field("t"))
        column = field(Self.field("c"))
        constraint = field(Self.field("n"))
        routine = field(Self.field("R"))
        backend = 0
    }

    init(connection: OpaquePointer?) {
        self.init(
            kind: PQstatus(connection) == CONNECTION_BAD ? .connection : .usage,
            sqlState: "",
            message: Self.message(of: connection)
        )
    }

    /// - Parameter backend: The server process that was asked to commit.
    func outcomeUnknown(_ backend: Int32) -> PostgresError {
        PostgresError(kind: .unknownOutcome, sqlState: sqlState, message: message, backend: backend)
    }

    /// The error of a statement that waited for a lock. Its transaction changed nothing. An error that names the session already is
    /// unchanged.
    ///
    /// - Parameters:
    ///   - limit: How long the statement waited.
    ///   - watch: The watch over the session that waited.
    public func heldUp(for limit: Duration, by watch: LockWatch) -> PostgresError {
        guard lockHolder == nil else { return self }
        let holder = watch.holder
        let advice = holder?.ending ?? "fieldseal doctor names sessions that hold locks"
        let words = holder?.words ?? "another transaction held a lock"
        var error = PostgresError(
            kind: kind, sqlState: sqlState,
            message: "a statement waited for a lock, and its transaction was rolled back: "
                + (limit > .zero ? "for \(limit.components.seconds) seconds, " : "") + "\(words); \(advice)")
        error.lockHolder = holder
        return error
    }

    /// This error. If the connection was lost after a whole transaction that writes was sent, with its commit, the kind becomes
    /// `unknownOutcome`.
    func afterSending(_ statements: [String], to backend: Int32) -> PostgresError {
        guard isConnectionLoss, kind != .unknownOutcome, statements.contains(where: Self.writes) else { return self }
        return outcomeUnknown(backend)
    }

    /// Whether a statement may write, judged by its text. `FOR UPDATE` counts as writing too, which does no harm.
    private static func writes(_ sql: String) -> Bool {
        let words = sql.split { !$0.isLetter && $0 != "_" }.lazy.map { $0.uppercased() }
        guard let first = words.first, ["SELECT", "WITH", "SHOW", "BEGIN", "ROLLBACK", "SET", "LOCK", "DEALLOCATE"].contains(first)
        else { return true }
        return words.contains { ["INSERT", "UPDATE", "DELETE", "MERGE", "NEXTVAL"].contains($0) }
            || sql.contains("_generation") || sql.contains("_change\"(")
    }

    /// The letter by which the protocol names a field of an error (PostgreSQL, 55.8).
    private static func field(_ letter: Unicode.Scalar) -> Int32 { Int32(letter.value) }

    private static func message(of connection: OpaquePointer?) -> String {
        let text = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
        let line = text.split { $0 == "\n" || $0 == "\t" }.joined(separator: " ")
        return line.isEmpty ? "the connection to PostgreSQL failed" : line
    }
}
