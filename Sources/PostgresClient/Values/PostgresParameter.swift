public import Foundation

/// A parameter of a statement in PostgreSQL's binary format. Its description hides the value.
public struct PostgresParameter: Sendable, Equatable, CustomStringConvertible, CustomReflectable {
    let type: PostgresType
    let bytes: [UInt8]?

    private init(_ type: PostgresType, _ bytes: [UInt8]?) {
        self.type = type
        self.bytes = bytes
    }

    /// A `text`.
    public static func text(_ value: String?) -> Self { .init(.text, value.map { Array($0.utf8) }) }
    /// A `bytea`.
    public static func bytes(_ value: [UInt8]?) -> Self { .init(.bytea, value) }
    /// A `uuid`.
    public static func uuid(_ value: UUID?) -> Self { .init(.uuid, value.map(Self.encode)) }
    /// A `boolean`.
    public static func bool(_ value: Bool?) -> Self { .init(.bool, value.map { [$0 ? 1 : 0] }) }
    /// An `integer`.
    public static func int32(_ value: Int32?) -> Self { .init(.int4, value.map(Self.encode)) }
    /// A `bigint`.
    public static func int64(_ value: Int64?) -> Self { .init(.int8, value.map(Self.encode)) }
    /// A `double precision`.
    public static func double(_ value: Double?) -> Self { .init(.float8, value.map { Self.encode($0.bitPattern) }) }
    /// A `timestamptz`, in whole microseconds.
    public static func timestamp(_ value: Date?) -> Self {
        .init(.timestamptz, value.map { Self.encode(Int64(($0.timeIntervalSinceReferenceDate * 1e6).rounded()) + epochOffset) })
    }
    /// A `timestamptz` with the full precision of one that was read, including infinity.
    public static func moment(_ value: PostgresMoment?) -> Self { .init(.timestamptz, value.map { Self.encode($0.microseconds) }) }
    /// A `timestamptz`, as microseconds since 1970-01-01 UTC.
    public static func timestamp(microseconds: Int64) -> Self {
        .init(.timestamptz, encode(microseconds - 978_307_200_000_000 + epochOffset))
    }
    /// A `uuid[]`.
    public static func uuids(_ values: [UUID]) -> Self { .init(.uuidArray, array(values.map(encode), of: .uuid)) }
    /// A `text[]`.
    public static func texts(_ values: [String]) -> Self { .init(.textArray, array(values.map { Array($0.utf8) }, of: .text)) }
    /// A `bigint[]`.
    public static func int64s(_ values: [Int64]) -> Self { .init(.int8Array, array(values.map(encode), of: .int8)) }
    /// A `boolean[]`.
    public static func bools(_ values: [Bool]) -> Self { .init(.boolArray, array(values.map { [$0 ? 1 : 0] }, of: .bool)) }
    /// A `bytea[]`, which may include NULL.
    public static func bytesArray(_ values: [[UInt8]?]) -> Self { .init(.byteaArray, array(values, of: .bytea)) }

    /// A non-empty array of values of one type, which may include NULL.
    public static func array(_ values: [Self]) -> Self {
        guard let type = values.first?.type, let arrayType = type.array else {
            preconditionFailure("an array needs values of a type that has arrays")
        }
        return .init(arrayType, array(values.map(\.bytes), of: type))
    }

    /// A placeholder: a parameter may be a secret.
    public var description: String { "****" }
    public var customMirror: Mirror { Mirror(self, children: [:]) }

    /// Microseconds from PostgreSQL's epoch, 2000-01-01, to Foundation's reference date, 2001-01-01.
    static let epochOffset: Int64 = 366 * 86_400 * 1_000_000

    private static func encode(_ value: some FixedWidthInteger) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    private static func encode(_ value: UUID) -> [UInt8] { withUnsafeBytes(of: value.uuid) { Array($0) } }

    private static func array(_ elements: [[UInt8]?], of type: PostgresType) -> [UInt8] {
        let dimensions: [Int32] = elements.isEmpty ? [0, 0] : [1, elements.contains { $0 == nil } ? 1 : 0]
        var bytes = dimensions.flatMap(encode) + encode(type.rawValue)
        bytes.reserveCapacity(elements.reduce(bytes.count + 8) { $0 + 4 + ($1?.count ?? 0) })
        if !elements.isEmpty { bytes += encode(Int32(elements.count)) + encode(Int32(1)) }
        for element in elements {
            withUnsafeBytes(of: Int32(element?.count ?? -1).bigEndian) { bytes.append(contentsOf: $0) }
            if let element { bytes.append(contentsOf: element) }
        }
        return bytes
    }
}
