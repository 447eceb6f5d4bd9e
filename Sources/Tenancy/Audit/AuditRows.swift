import PostgresClient

/// Entries of the audit in the order of a statement, read a few at a time. Reading needs an open transaction.
struct AuditRows {
    /// How many entries are read at a time. The number is small, because an entry may hold long texts.
    private static let fetch = 200

    private let cursor: String
    private var page: [AuditEntry] = []
    private var place = 0
    private var isAtEnd = false

    /// - Parameters:
    ///   - cursor: A name that no other statement of the transaction uses.
    ///   - condition: The SQL after `FROM audit AS a`.
    init(
        _ cursor: String, in organization: Organization, _ condition: String, on connection: isolated PostgresConnection
    ) throws {
        self.cursor = cursor
        try connection.execute(
            """
            DECLARE \(cursor) NO SCROLL CURSOR FOR
            SELECT \(AuditEntry.columns) FROM \(organization.qualified("audit")) AS a \(condition)
            """)
    }

    /// Returns the current entry; nil at the end. Each call returns the same entry until ``pass()`` is called.
    mutating func next(on connection: isolated PostgresConnection) throws -> AuditEntry? {
        if place == page.count, !isAtEnd {
            page = try connection.query("FETCH \(Self.fetch) FROM \(cursor)").map { try AuditEntry($0) }
            place = 0
            isAtEnd = page.isEmpty
        }
        return place < page.count ? page[place] : nil
    }

    /// Moves past the current entry.
    mutating func pass() { place += 1 }

    func close(on connection: isolated PostgresConnection) throws { try connection.execute("CLOSE \(cursor)") }
}
