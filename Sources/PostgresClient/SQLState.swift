/// The error codes that the program handles ("PostgreSQL Error Codes"). Codes that begin with FS are raised by the program's own
/// SQL functions.
public enum SQLState: String, Sendable {
    case readOnlyTransaction = "25006"
    case failedTransaction = "25P02"
    case untranslatableCharacter = "22021"
    case invalidParameter = "22023"
    case uniqueViolation = "23505"
    case checkViolation = "23514"
    case undefinedSchema = "3F000"
    case serializationFailure = "40001"
    case deadlock = "40P01"
    case insufficientPrivilege = "42501"
    case undefinedColumn = "42703"
    case undefinedObject = "42704"
    case undefinedFunction = "42883"
    case duplicateSchema = "42P06"
    case undefinedTable = "42P01"
    case lockNotAvailable = "55P03"
    case queryCanceled = "57014"
    /// The organization's schema refuses a cell, or a change of the current key version.
    case keyVersionRefused = "FS001"
    /// A session reused facts about its client and key that have changed since.
    case staleSession = "FS010"
}

extension PostgresError {
    /// The error code as an ``SQLState``; nil for all other codes.
    public var state: SQLState? { SQLState(rawValue: sqlState) }
}
