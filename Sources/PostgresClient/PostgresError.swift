import CLibPQ

/// What PostgreSQL, or the connection to it, answered instead of a result.
///
/// It carries the SQLSTATE and the names of what failed, and never a parameter's or a row's value: the server's DETAIL,
/// which may quote both, is not kept.
public struct PostgresError: Error, Sendable, CustomStringConvertible {
    /// What kind of failure it is.
    public enum Kind: Sendable, Equatable {
        /// The server refused a statement.
        case server
        /// There is no connection (any more). A statement that was under way did nothing: it was part of a transaction that was not
        /// committed, or it only read.
        case connection
        /// What commits was sent, and its answer did not arrive: the transaction happened or it did not.
        case unknownOutcome
        /// The caller was cancelled, or used the connection in a way that it can't be used.
        case usage
    }

    public let kind: Kind
    /// The five characters of the SQLSTATE (PostgreSQL, Appendix A); empty when there is none.
    public let sqlState: String
    /// The server's primary message.
    public let message: String
    /// The server's hint: what to do.
    public let hint: String?
    /// The names of the objects that the error is about, as far as the server tells.
    public let schema: String?, table: String?, column: String?, constraint: String?
    /// The server process whose transaction has an unknown outcome; 0 otherwise.
    public let backend: Int32
    /// The function of the server that raised the error. Unlike the message it is the same in every language.
    private let routine: String?

    /// Whether the connection is gone or going, so that a fresh one may do better.
    public var isConnectionLoss: Bool {
        kind == .connection || kind == .unknownOutcome || sqlState.hasPrefix("08") || sqlState.hasPrefix("57P")
    }

    /// Whether a table changed under a prepared statement's plan, or a pooler gave us another server process.
    var isStalePlan: Bool { sqlState == "26000" || sqlState == "0A000" && routine == "RevalidateCachedQuery" }

    /// Whether PostgreSQL took the whole transaction back for the sake of others: a serialization failure or a deadlock. Running it
    /// again is right.
    public var isConflict: Bool { kind == .server && (sqlState == "40001" || sqlState == "40P01") }

    var isRetryable: Bool { isConflict || kind == .server && isStalePlan }

    /// Whether the server does not write at the moment: it is a standby, or a setting says so. Nothing was changed.
    public var isReadOnly: Bool {
        switch sqlState {
        case "25006": true
        // What a standby says of unlogged tables, of locks, and of the write-ahead log's position.
        case "0A000": routine == "get_relation_info"
        case "55000": ["LockAcquireExtended", "pg_current_wal_insert_lsn"].contains(routine)
        default: false
        }
    }

    /// Whether PostgreSQL ended the statement: it took longer than `statement_timeout`, or it was cancelled.
    public var isCancelledStatement: Bool { sqlState == "57014" }

    public var description: String {
        let text = sqlState.isEmpty ? message : "\(message) [\(sqlState)]"
        guard kind == .unknownOutcome else { return text }
        return "the connection to PostgreSQL broke while a change was saved, so it is not known whether it was: look before you "
            + "repeat it (\(text))"
    }

    /// An error that the client side raises.
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
        // An error of the server always has a SQLSTATE; one that libpq made up for it, such as a write that failed, has none,
        // and may come before libpq itself takes the connection for broken.
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

    /// The same, or of an unknown outcome: when the connection was lost after statements that write were sent as a transaction of
    /// their own, their commit went with them.
    func afterSending(_ statements: [String], to backend: Int32) -> PostgresError {
        guard isConnectionLoss, kind != .unknownOutcome, statements.contains(where: Self.writes) else { return self }
        return outcomeUnknown(backend)
    }

    /// Whether a statement may write, as far as its words tell. `FOR UPDATE` counts too, which errs on the safe side.
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
        let line = text.split(separator: "\n").joined(separator: " ")
        return line.isEmpty ? "the connection to PostgreSQL failed" : line
    }
}
