/// An INSERT of one row. A shared connection sends it together with those of other callers, as one statement.
public struct RowInsert: Sendable {
    private let sql: String
    private let own: [PostgresParameter]
    private let shared: [PostgresParameter]

    /// - Parameters:
    ///   - sql: Has an array for each of `own` as its first parameters, and then `shared`. It inserts a row for each element. What it
    ///     returns says of which row it is, as each caller is given the rows of all.
    ///   - own: At least one value of this row. Their types are the same for each insert with this SQL.
    ///   - shared: Values of this row and of each row that is inserted with it.
    public init(_ sql: String, own: [PostgresParameter], shared: [PostgresParameter]) {
        self.sql = sql
        self.own = own
        self.shared = shared
    }

    /// The statement that inserts this row alone.
    public var statement: SharedConnection.Statement { Self.merged([self]) }

    /// The statement that inserts several rows, which can be merged.
    static func merged(_ rows: [RowInsert]) -> SharedConnection.Statement {
        let arrays = rows[0].own.indices.map { index in PostgresParameter.array(rows.map { $0.own[index] }) }
        return (rows[0].sql, arrays + rows[0].shared)
    }

    /// Whether one statement can insert both rows.
    func isMergeable(with other: RowInsert) -> Bool { sql == other.sql && shared == other.shared }
}
