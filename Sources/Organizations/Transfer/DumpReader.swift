import Foundation
import Model

/// Reads the output of `pg_restore --data-only`: rows of tables and values of sequences. Nothing of this output is executed.
///
/// The reader accepts the few kinds of lines that pg_dump writes for data, and refuses every other line. The reader's memory is
/// bounded by its buffer, even if the text, a line or a row is long.
final class DumpReader {
    /// The next item of the text.
    enum Item: Equatable {
        /// Rows of a table. Read these rows with ``rows(keeping:_:)`` before the next item.
        case rows(table: String, columns: [String])
        case sequence(name: String, value: Int64, isCalled: Bool)
    }

    private let schema: String
    private let source: (UnsafeMutableRawBufferPointer) throws -> Int
    private var buffer = [UInt8](repeating: 0, count: 1 << 18)
    private var start = 0
    private var end = 0

    /// The longest line that is not a row, in bytes.
    static let lineLimit = 1 << 16
    /// The longest row in bytes. The product's own rows are shorter.
    static let rowLimit = 1 << 26
    /// PostgreSQL's limit for the columns of a table.
    private static let columnLimit = 1_600

    /// - Parameters:
    ///   - schema: The schema of the tables in the text. Rows of another schema are refused.
    ///   - source: Fills a buffer with the next bytes and returns their number; 0 at the end.
    init(schema: String, source: @escaping (UnsafeMutableRawBufferPointer) throws -> Int) {
        self.schema = schema
        self.source = source
    }

    /// The next item; nil at the end of the text.
    func next() throws -> Item? {
        while let line = try nextLine() {
            if line.isEmpty || line.hasPrefix("--") || Self.isSetting(line) { continue }
            if let encoding = Self.quoted(line, after: "SET client_encoding = ", before: ";") {
                guard encoding == "UTF8" else {
                    throw Self.refusal(
                        "its rows are in the encoding \(encoding.quotedForMessage). Export it from a database in UTF8.")
                }
                continue
            }
            if line.hasPrefix("COPY ") { return try copy(line) }
            if line.hasPrefix("SELECT pg_catalog.setval(") { return try sequence(line) }
            throw Self.refusal("it has a line that is not data: \(String(line.prefix(60)).quotedForMessage).")
        }
        return nil
    }

    /// Passes the rows of the table that ``next()`` named to `write`, in COPY's text format.
    ///
    /// - Parameter keeping: For each column, whether it is kept; nil to keep all columns.
    /// - Returns: How many rows there were.
    @discardableResult
    func rows(keeping: [Bool]? = nil, _ write: (UnsafeRawBufferPointer) throws -> Void) throws -> Int {
        var count = 0
        var length = 0
        var isEscaped = false
        var filter = keeping.map(ColumnFilter.init)
        while true {
            if length == 0, try isAtEndOfRows() { return count }
            if start == end, try !fill() { throw Self.cutOff }
            // The segment ends with the row, or with the buffer.
            let segment = buffer.withUnsafeBytes { bytes in
                let here = UnsafeRawBufferPointer(rebasing: bytes[start..<end])
                return here.firstIndex(of: UInt8(ascii: "\n")).map { ($0 + 1, true) } ?? (here.count, false)
            }
            length += segment.0
            guard length <= Self.rowLimit else { throw Self.refusal("it has a row of more than \(Self.rowLimit >> 20) MiB.") }
            try buffer.withUnsafeBytes { bytes in
                let row = UnsafeRawBufferPointer(rebasing: bytes[start..<(start + segment.0)])
                try Self.check(row, isEscaped: &isEscaped)
                if filter == nil { try write(row) } else { try filter?.pass(row, write) }
            }
            start += segment.0
            if segment.1 {
                count += 1
                length = 0
            }
        }
    }

    // MARK: Bytes

    /// Moves the remaining bytes to the buffer's beginning and reads more after them.
    ///
    /// - Returns: False at the end of the text.
    private func fill() throws -> Bool {
        if start > 0 {
            buffer.withUnsafeMutableBytes {
                $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer($0)[start..<end]))
            }
            (start, end) = (0, end - start)
        }
        let count = try buffer.withUnsafeMutableBytes { try source(UnsafeMutableRawBufferPointer(rebasing: $0[end...])) }
        end += count
        return count > 0
    }

    /// Consumes the line `\.`, which ends the rows, if it is next. Returns whether the line was next.
    private func isAtEndOfRows() throws -> Bool {
        while end - start < 3 {
            guard try fill() else { throw Self.cutOff }
        }
        guard buffer[start] == UInt8(ascii: "\\"), buffer[start + 1] == UInt8(ascii: ".") else { return false }
        guard buffer[start + 2] == UInt8(ascii: "\n") else { throw Self.refusal("its rows end in the middle of a line.") }
        start += 3
        return true
    }

    /// Refuses escapes that pg_dump never writes, because the server may parse them differently than this reader.
    private static func check(_ row: UnsafeRawBufferPointer, isEscaped: inout Bool) throws {
        for byte in row {
            if isEscaped {
                guard byte != UInt8(ascii: "."), byte != UInt8(ascii: "\n"), byte != UInt8(ascii: "\t") else {
                    throw refusal("a row has a backslash before a full stop, a tab or a line's end.")
                }
                isEscaped = false
            } else {
                isEscaped = byte == UInt8(ascii: "\\")
            }
        }
    }

    private func nextLine() throws -> String? {
        var searched = start
        while true {
            let newline = buffer[searched..<end].firstIndex(of: UInt8(ascii: "\n"))
            guard (newline ?? end) - start <= Self.lineLimit else {
                throw Self.refusal("it has a line of more than \(Self.lineLimit) bytes.")
            }
            if let newline {
                defer { start = newline + 1 }
                guard let line = String(validating: buffer[start..<newline], as: UTF8.self) else {
                    throw Self.refusal("it is not in UTF-8.")
                }
                return line
            }
            let searchedBytes = end - start
            if try !fill() {
                guard start == end else { throw Self.cutOff }
                return nil
            }
            searched = start + searchedBytes
        }
    }

    // MARK: Lines

    /// Whether a line is a setting that pg_restore prints for a client that executes its output. This reader ignores settings.
    private static func isSetting(_ line: String) -> Bool {
        line.hasPrefix("SET ") && !line.hasPrefix("SET client_encoding") || line.hasPrefix("SELECT pg_catalog.set_config(")
            || line.hasPrefix("\\restrict ") || line.hasPrefix("\\unrestrict ")
    }

    private static func quoted(_ line: String, after prefix: String, before suffix: String) -> String? {
        guard line.hasPrefix(prefix), line.hasSuffix(suffix) else { return nil }
        return line.dropFirst(prefix.count).dropLast(suffix.count).trimmingCharacters(in: ["'"])
    }

    private func copy(_ line: String) throws -> Item {
        var names = SQLNames(line.dropFirst("COPY ".count))
        guard let schema = names.name(), names.skip("."), let table = names.name(), names.skip(" (") else {
            throw Self.noRows(line)
        }
        var columns: [String] = []
        repeat {
            guard let column = names.name(), columns.count < Self.columnLimit else { throw Self.noRows(line) }
            columns.append(column)
        } while names.skip(", ")
        guard names.skip(") FROM stdin;"), names.isAtEnd else { throw Self.noRows(line) }
        try require(schema, of: table)
        return .rows(table: table, columns: columns)
    }

    private func sequence(_ line: String) throws -> Item {
        guard let match = line.wholeMatch(of: #/SELECT pg_catalog\.setval\('([^']+)', (-?[0-9]{1,19}), (true|false)\);/#),
            let value = Int64(match.2)
        else { throw Self.noRows(line) }
        var names = SQLNames(match.1)
        guard let schema = names.name(), names.skip("."), let name = names.name(), names.isAtEnd else { throw Self.noRows(line) }
        try require(schema, of: name)
        return .sequence(name: name, value: value, isCalled: match.3 == "true")
    }

    private func require(_ schema: String, of name: String) throws {
        guard schema == self.schema else {
            throw Self.refusal("it has rows of \("\(schema).\(name)".quotedForMessage), which is not a table of the organization.")
        }
    }

    private static func noRows(_ line: String) -> FieldsealError {
        refusal("this line does not name rows of a table: \(String(line.prefix(60)).quotedForMessage).")
    }

    static func refusal(_ reason: String) -> FieldsealError {
        FieldsealError(.invalidArgument, "The file was refused, and nothing was imported: \(reason)")
    }

    private static let cutOff = refusal("it ends in the middle of its rows. Copy it again.")
}

/// Names in a line of SQL, plain or in double quotes.
private struct SQLNames {
    private var rest: Substring

    init(_ text: Substring) { rest = text }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func skip(_ text: String) -> Bool {
        guard rest.hasPrefix(text) else { return false }
        rest = rest.dropFirst(text.count)
        return true
    }

    mutating func name() -> String? {
        guard let match = rest.prefixMatch(of: #/(?:"((?:[^"]|"")+)"|([a-z_][a-z0-9_$]*))/#) else { return nil }
        rest = rest[match.range.upperBound...]
        return match.1.map { String($0.replacing("\"\"", with: "\"")) } ?? match.2.map(String.init)
    }
}

/// Removes columns from rows in COPY's text format, which may arrive in pieces.
private struct ColumnFilter {
    private let keeps: [Bool]
    private var column = 0
    /// Whether a column of this row was kept. If true, a tab is written before the next column that is kept.
    private var hasKept: Bool

    /// - Parameter keeps: Whether to keep each column; not empty.
    init(_ keeps: [Bool]) {
        self.keeps = keeps
        hasKept = keeps[0]
    }

    mutating func pass(_ piece: UnsafeRawBufferPointer, _ write: (UnsafeRawBufferPointer) throws -> Void) throws {
        var output: [UInt8] = []
        output.reserveCapacity(piece.count)
        for byte in piece {
            switch byte {
            case UInt8(ascii: "\t"):
                column += 1
                guard column < keeps.count else { throw DumpReader.refusal("a row has more values than its table has columns.") }
                guard keeps[column] else { continue }
                if hasKept { output.append(byte) }
                hasKept = true
            case UInt8(ascii: "\n"):
                guard column == keeps.count - 1 else {
                    throw DumpReader.refusal("a row has fewer values than its table has columns.")
                }
                output.append(byte)
                (column, hasKept) = (0, keeps[0])
            default:
                if keeps[column] { output.append(byte) }
            }
        }
        try output.withUnsafeBytes { try write($0) }
    }
}
