import Foundation

/// Object ids of the built-in types that are supported in binary (PostgreSQL's `pg_type.dat`).
enum PostgresType: UInt32 {
    case bool = 16
    case bytea = 17
    case int8 = 20
    case int2 = 21
    case int4 = 23
    case text = 25
    case float8 = 701
    case boolArray = 1000
    case byteaArray = 1001
    case int4Array = 1007
    case textArray = 1009
    case int8Array = 1016
    case timestamptz = 1184
    case timestamptzArray = 1185
    case uuid = 2950
    case uuidArray = 2951

    /// The array type of this type; nil if it is not supported.
    var array: PostgresType? {
        switch self {
        case .bool: .boolArray
        case .bytea: .byteaArray
        case .int4: .int4Array
        case .int8: .int8Array
        case .text: .textArray
        case .timestamptz: .timestamptzArray
        case .uuid: .uuidArray
        default: nil
        }
    }
}
