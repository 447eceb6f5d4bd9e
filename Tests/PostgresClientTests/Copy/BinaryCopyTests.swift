import Foundation
import PostgresClient
import TestSupport
import Testing

@Suite("COPY in the binary format", .timeLimit(.minutes(2)))
struct BinaryCopyTests {
    private func connected<Result: Sendable>(
        _ body: @Sendable @escaping (isolated PostgresConnection) async throws -> Result
    ) async throws -> Result {
        try await TestDatabase.with { database in
            let connection = try await PostgresConnection.connect(database.conninfo)
            return try await connection.run(body)
        }
    }

    /// Rows of a number, an id and bytes. In every third row the bytes are NULL, and in every fifth row the bytes are empty.
    private static func rows(_ numbers: Range<Int32>, _ ids: [UUID]) -> BinaryCopyRows {
        var rows = BinaryCopyRows()
        for number in numbers {
            rows.begin(fields: 3)
            rows.append(number)
            rows.append(ids[Int(number)])
            if number % 3 == 0 {
                rows.append(nil)
            } else {
                rows.append { bytes in
                    bytes += [UInt8](repeating: UInt8(number % 256), count: number % 5 == 0 ? 0 : Int(number))
                    return true
                }
            }
        }
        return rows
    }

    @Test("Rows that COPY wrote are equal when COPY reads them, one by one or in chunks")
    func roundTrip() async throws {
        try await connected { connection in
            let ids = (0..<1_000).map { _ in UUID() }
            try connection.execute("CREATE TABLE t (number int4, id uuid, bytes bytea)")
            #expect(try connection.copy(Self.rows(0..<10, ids), into: "t (number, id, bytes)") == 10)
            var parts = [Self.rows(10..<500, ids).bytes, [], Self.rows(500..<1_000, ids).bytes][...]
            #expect(try connection.copyRows(into: "t") { parts.popFirst() } == 990)
            #expect(try connection.copy(BinaryCopyRows(), into: "t") == 0)

            var chunks: [[UInt8]] = []
            try connection.copyChunks(of: "(SELECT id, bytes, ''::bytea FROM t ORDER BY number)", length: 10_000) {
                chunks.append($0)
            }
            #expect(chunks.count > 10 && chunks.dropLast().allSatisfy { (10_000..<12_000).contains($0.count) })
            var seen = 0
            for chunk in chunks {
                try chunk.withUnsafeBytes { bytes in
                    var fields = BinaryCopyFields(bytes)
                    while !fields.isAtEnd {
                        try fields.begin(fields: 3)
                        let id = try fields.uuid()
                        #expect(id == ids[seen])
                        let length = try fields.field()?.count
                        #expect(length == (seen % 3 == 0 ? nil : seen % 5 == 0 ? 0 : seen))
                        let empty = try fields.field()
                        #expect(empty?.isEmpty == true)
                        seen += 1
                    }
                }
            }
            #expect(seen == 1_000)
            seen = 0
            try connection.copyRows(of: "t (id)") { row in
                var fields = BinaryCopyFields(row)
                try fields.begin(fields: 1)
                _ = try fields.uuid()
                #expect(fields.isAtEnd)
                seen += 1
            }
            #expect(seen == 1_000)
        }
    }

    @Test("A row that was begun can be removed again, and a field without bytes is NULL")
    func truncated() async throws {
        try await connected { connection in
            try connection.execute("CREATE TABLE t (number int4, bytes bytea)")
            var rows = BinaryCopyRows(capacity: 100)
            rows.begin(fields: 2)
            rows.append(1)
            rows.append { _ in false }
            let start = rows.bytes.count
            rows.begin(fields: 2)
            rows.append(2)
            rows.truncate(to: start)
            #expect(try connection.copy(rows, into: "t") == 1)
            #expect(try connection.query("SELECT bytes FROM t WHERE number = 1")[0].isNull(0))
        }
    }

    @Test("Malformed rows are refused, and an error thrown by the reading closure ends the COPY statement")
    func malformed() async throws {
        struct Stop: Error {}
        #expect(throws: MalformedCopy.self) {
            try [UInt8]([0, 1, 0, 0, 0, 9, 1]).withUnsafeBytes { bytes in
                var fields = BinaryCopyFields(bytes)
                try fields.begin(fields: 1)
                _ = try fields.field()
            }
        }
        #expect(throws: MalformedCopy.self) {
            try [UInt8]([0, 2]).withUnsafeBytes { bytes in
                var fields = BinaryCopyFields(bytes)
                try fields.begin(fields: 1)
            }
        }
        try await connected { connection in
            #expect(throws: Stop.self) { try connection.copyRows(of: "(SELECT generate_series(1, 1000000))") { _ in throw Stop() } }
            #expect(throws: PostgresError.self) {
                try connection.execute("CREATE TABLE IF NOT EXISTS t (number int4)")
                var rows = BinaryCopyRows()
                rows.begin(fields: 2)
                rows.append(1)
                try connection.copy(rows, into: "t")
            }
            let count: Int = try connection.query("SELECT count(*) FROM t")[0].decode(0)
            #expect(count == 0)
        }
    }
}
