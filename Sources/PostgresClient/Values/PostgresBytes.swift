import CLibPQ
import Foundation

/// The bytes of a `bytea` column.
public struct PostgresBytes: PostgresDecodable, Sendable {
    /// The bytes, without an encoding.
    public let bytes: [UInt8]

    /// Copies the bytes of a `bytea`; nil for another type.
    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        guard type == PostgresType.bytea.rawValue else { return nil }
        self.bytes = Array(bytes)
    }
}
