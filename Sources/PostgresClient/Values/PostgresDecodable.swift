import CLibPQ
import Foundation

/// A Swift type that can be read from PostgreSQL's binary format.
public protocol PostgresDecodable {
    /// Nil when `type`, an object id of `pg_type`, or the bytes do not fit.
    init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32)
}
