import Model
import PostgresClient
import SystemPackage

/// Streams rows from one database into another.
enum MoveStream {
    private static let bufferSize = 1 << 16

    /// Copies the result of a query into a table, in the open transactions of both connections.
    ///
    /// - Parameters:
    ///   - table: The name of the rows in messages.
    ///   - source: What COPY reads: a table with its columns, or a query in parentheses.
    ///   - destination: The table that COPY fills, with its columns.
    /// - Returns: The number of rows.
    static func copy(
        of table: String, _ source: String, _ from: PostgresConnection, into destination: String, _ to: PostgresConnection
    ) async throws -> Int {
        let (output, input) = try FileDescriptor.pipe()
        async let sent = from.run { (connection: isolated PostgresConnection) throws -> Int in
            // The pipe is closed even after an error, because its reader would otherwise wait for more bytes.
            defer { try? input.close() }
            return try connection.copyOut("COPY \(source) TO STDOUT (FORMAT binary)") { _ = try input.writeAll($0) }
        }
        async let arriving = to.run { (connection: isolated PostgresConnection) throws -> Int in
            defer { try? output.close() }
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bufferSize, alignment: 1)
            defer { buffer.deallocate() }
            return try connection.copyIn("COPY \(destination) FROM STDIN (FORMAT binary)") { write in
                while true {
                    let count = try output.read(into: buffer)
                    if count == 0 { return }
                    try write(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
                }
            }
        }
        let arrived: Result<Int, any Error>
        do { arrived = .success(try await arriving) } catch { arrived = .failure(error) }
        let left: Int
        do {
            left = try await sent
        } catch Errno.brokenPipe {
            // The error of the receiving side is the cause, so it is thrown if there is one.
            _ = try arrived.get()
            throw Errno.brokenPipe
        }
        guard try arrived.get() == left else {
            throw FieldsealError(
                .unexpected, "\(left) rows of \(table) were sent, and another number of rows arrived. Nothing was changed.")
        }
        return left
    }
}
