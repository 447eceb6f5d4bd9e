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
        /// There is no connection (any more). Nothing is known of a statement that was under way.
        case connection
        /// COMMIT was sent and its answer did not arrive: the transaction happened or it did not.
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

    /// Whether the connection is gone or going, so that a fresh one may do better.
    public var isConnectionLoss: Bool {
        kind == .connection || kind == .unknownOutcome || sqlState.hasPrefix("08") || sqlState.hasPrefix("57P")
    }

    /// Whether a table changed under a prepared statement's plan, or a pooler gave us another server process.
    var isStalePlan: Bool { sqlState == "0A000" || sqlState == "26000" }

    /// Whether PostgreSQL ended the statement: it took longer than `statement_timeout`, or it was cancelled.
    public var isCancelledStatement: Bool { sqlState == "57014" }

    public var description: String {
        sqlState.isEmpty ? message : "\(message) [\(sqlState)]"
    }

    /// An error that the client side raises.
    public init(kind: Kind, message: String) {
        self.init(kind: kind, sqlState: "", message: message)
    }

    private init(kind: Kind, sqlState: String, message: String) {
        self.kind = kind
        self.sqlState = sqlState
        self.message = message
        (hint, schema, table, column, constraint) = (nil, nil, nil, nil, nil)
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
    }

    init(connection: OpaquePointer?) {
        self.init(
            kind: PQstatus(connection) == CONNECTION_BAD ? .connection : .usage,
            sqlState: "",
            message: Self.message(of: connection)
        )
    }

    func outcomeUnknown() -> PostgresError {
        PostgresError(kind: .unknownOutcome, sqlState: sqlState, message: message)
    }

    /// The letter by which the protocol names a field of an error (PostgreSQL, 55.8).
    private static func field(_ letter: Unicode.Scalar) -> Int32 { Int32(letter.value) }

    private static func message(of connection: OpaquePointer?) -> String {
        let text = PQerrorMessage(connection).map { String(cString: $0) } ?? ""
        let line = text.split(separator: "\n").joined(separator: " ")
        return line.isEmpty ? "the connection to PostgreSQL failed" : line
    }
}
