import CLibPQ
import Foundation

/// The bytes of a `bytea` column.
public struct PostgresBytes: PostgresDecodable, Sendable {
    public let bytes: [UInt8]

    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        guard type == PostgresType.bytea.rawValue else { return nil }
        self.bytes = Array(bytes)
    }
}
