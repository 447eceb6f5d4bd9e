// COPY in the binary format, in both directions.
extension PostgresConnection {
    /// Runs `COPY source TO STDOUT (FORMAT binary)` and passes each row to `body`, which can read it with ``BinaryCopyFields``.
    ///
    /// - Parameter source: A table with its columns, or a query in parentheses.
    /// - Throws: What `body` throws; ``MalformedCopy``.
    package func copyRows(of source: String, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        var messages = BinaryCopyStream.Messages()
        try copyOut("COPY \(source) TO STDOUT (FORMAT binary)") { message in
            if let row = try messages.row(in: message) { try body(row) }
        }
    }

    /// Runs `COPY source TO STDOUT (FORMAT binary)` and passes chunks of many rows to `body`.
    ///
    /// - Parameter length: A chunk ends after the row that reaches this number of bytes. The last chunk may be smaller.
    package func copyChunks(of source: String, length: Int, _ body: ([UInt8]) throws -> Void) throws {
        var chunk: [UInt8] = []
        try copyRows(of: source) { row in
            if chunk.isEmpty { chunk.reserveCapacity(length + row.count) }
            chunk.append(contentsOf: row)
            guard chunk.count >= length else { return }
            try body(chunk)
            chunk = []
        }
        if !chunk.isEmpty { try body(chunk) }
    }

    /// Runs `COPY target FROM STDIN (FORMAT binary)` and sends rows made by ``BinaryCopyRows``.
    ///
    /// - Parameters:
    ///   - target: A table with its columns.
    ///   - next: Returns the bytes of the next rows; nil after the last ones.
    /// - Returns: The number of rows that the server accepted.
    package func copyRows(into target: String, next: () throws -> [UInt8]?) throws -> Int {
        try copyIn("COPY \(target) FROM STDIN (FORMAT binary)") { write in
            try BinaryCopyStream.header.withUnsafeBytes { try write($0) }
            while let rows = try next() {
                try rows.withUnsafeBytes { try write($0) }
            }
            try BinaryCopyStream.trailer.withUnsafeBytes { try write($0) }
        }
    }

    /// Copies rows that are in memory into a table.
    @discardableResult
    package func copy(_ rows: BinaryCopyRows, into target: String) throws -> Int {
        var rest: [UInt8]? = rows.bytes
        return try copyRows(into: target) {
            defer { rest = nil }
            return rest
        }
    }
}
