import CLibPQ
public import Foundation

/// The rows that a statement returned, in PostgreSQL's binary format.
public final class PostgresResult: @unchecked Sendable, RandomAccessCollection {
    // Sendable: libpq never changes a finished PGresult. The PGresult is freed once, here.
    let pointer: OpaquePointer

    init(_ pointer: OpaquePointer) { self.pointer = pointer }

    deinit { PQclear(pointer) }

    public var startIndex: Int { 0 }
    public var endIndex: Int { Int(PQntuples(pointer)) }
    public subscript(index: Int) -> PostgresRow { PostgresRow(result: self, index: Int32(index)) }

    /// The number of columns.
    public var columnCount: Int { Int(PQnfields(pointer)) }

    /// Rows that the statement inserted, updated, deleted, copied or returned.
    public var affectedRows: Int { Int(String(cString: PQcmdTuples(pointer))) ?? 0 }
}

extension String: PostgresDecodable {
    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        // The binary format of text, name, varchar, "char"[], unknown and json is the text itself.
        guard [25, 19, 1043, 705, 114].contains(type) else { return nil }
        self.init(decoding: bytes, as: UTF8.self)
    }
}

extension Bool: PostgresDecodable {
    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        guard type == PostgresType.bool.rawValue, bytes.count == 1 else { return nil }
        self = bytes[0] != 0
    }
}

extension Int: PostgresDecodable {
    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        switch (PostgresType(rawValue: type), bytes.count) {
        case (.int2, 2): self = Int(Int16(bigEndian: bytes.loadUnaligned(as: Int16.self)))
        case (.int4, 4): self = Int(Int32(bigEndian: bytes.loadUnaligned(as: Int32.self)))
        case (.int8, 8): self = Int(Int64(bigEndian: bytes.loadUnaligned(as: Int64.self)))
        default: return nil
        }
    }
}

extension Double: PostgresDecodable {
    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        guard type == PostgresType.float8.rawValue, bytes.count == 8 else { return nil }
        self.init(bitPattern: UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)))
    }
}

extension UUID: PostgresDecodable {
    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        guard type == PostgresType.uuid.rawValue, bytes.count == 16 else { return nil }
        self.init(uuid: bytes.loadUnaligned(as: uuid_t.self))
    }
}

extension Date: PostgresDecodable {
    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        guard type == PostgresType.timestamptz.rawValue, bytes.count == 8 else { return nil }
        let microseconds = Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
        // ±infinity are the extreme values, which `Date` can't represent. Dates outside of the years 1 to 9999 can't be written as
        // text. Infinity, and dates before the year 1 or after the year 9999, become the nearest date that can be written.
        let moment = Date(
            timeIntervalSinceReferenceDate: Double(
                microseconds.subtractingReportingOverflow(PostgresParameter.epochOffset).partialValue) / 1e6)
        self = microseconds == .min ? Self.first : microseconds == .max ? Self.last : min(max(moment, Self.first), Self.last)
    }

    /// The beginning of the year 1 and the end of the year 9999.
    private static let first = Date(timeIntervalSince1970: -62_135_596_800)
    private static let last = Date(timeIntervalSince1970: 253_402_300_799)
}

extension Array: PostgresDecodable where Element: PostgresDecodable {
    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        func integer(at offset: Int) -> Int? {
            guard offset + 4 <= bytes.count else { return nil }
            return Int(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
        }
        guard let dimensions = integer(at: 0), let element = integer(at: 8) else { return nil }
        self = []
        if dimensions == 0 { return }
        guard dimensions == 1, let count = integer(at: 12) else { return nil }
        var offset = 20
        for _ in 0..<count {
            guard let length = integer(at: offset), length >= 0, offset + 4 + length <= bytes.count,
                let value = Element(
                    postgresBinary: UnsafeRawBufferPointer(rebasing: bytes[(offset + 4)..<(offset + 4 + length)]),
                    type: UInt32(element)
                )
            else { return nil }
            append(value)
            offset += 4 + length
        }
    }
}
