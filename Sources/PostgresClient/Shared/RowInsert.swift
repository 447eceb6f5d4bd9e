/// An INSERT of one row. A shared connection combines the insert with inserts of other callers into one statement.
public struct RowInsert: Sendable {
    private let sql: String
    private let own: [PostgresParameter]
    private let shared: [PostgresParameter]

    /// - Parameters:
    ///   - sql: Its first parameters are arrays, one for each of `own`. The parameters `shared` follow. The statement inserts a row
    ///     for each array element. Each returned row must identify its inserted row, because every caller gets the rows of all
    ///     callers.
    ///   - own: At least one value of this row. The types of these values are the same for all inserts with this SQL.
    ///   - shared: Values of this row and of each row that is inserted by the same statement.
    public init(_ sql: String, own: [PostgresParameter], shared: [PostgresParameter]) {
        self.sql = sql
        self.own = own
        self.shared = shared
    }

    /// The statement that inserts this row alone.
    public var statement: SharedConnection.Statement { Self.merged([self]) }

    /// One statement that inserts several mergeable rows.
    static func merged(_ rows: [RowInsert]) -> SharedConnection.Statement {
        let arrays = rows[0].own.indices.map { index in PostgresParameter.array(rows.map { $0.own[index] }) }
        return (rows[0].sql, arrays + rows[0].shared)
    }

    /// Whether one statement can insert both rows.
    func isMergeable(with other: RowInsert) -> Bool { sql == other.sql && shared == other.shared }
}
