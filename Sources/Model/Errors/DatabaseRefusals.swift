public import PostgresClient

// What callers are told of a database that does not do its part at the moment.
extension PostgresError {
    /// Whether the same request may do better later: nothing was done.
    public var isUnavailable: Bool { kind != .unknownOutcome && (isConnectionLoss || isReadOnly || isConflict) }

    /// Whether a text had the character U+0000, which PostgreSQL's texts do not hold.
    public var isImpossibleText: Bool { sqlState == "22021" }

    /// Whether callers are told with ``refusal``; anything else is this program's own fault.
    public var isTold: Bool { kind == .unknownOutcome || isUnavailable || isImpossibleText }

    /// What a caller is told of an unknown outcome, or of a database that does not do its part. Only where nothing was done is there a
    /// time to try again: repeating a request of an unknown outcome may do it twice.
    public var refusal: FieldsealError {
        if kind == .unknownOutcome {
            return FieldsealError(
                .outcomeUnknown,
                "The connection to the database was lost while the change was saved, so it is not known whether it was saved. "
                    + "Read the record before you repeat the request.")
        }
        if isImpossibleText {
            return FieldsealError(
                .invalidArgument, "A text has the character U+0000, which no text can hold. Nothing was changed.")
        }
        if isReadOnly {
            return FieldsealError(
                .unexpected, "The database is read-only at the moment, and nothing was changed. Try again.", retryAfter: 5)
        }
        if isConflict {
            return FieldsealError(
                .unexpected, "Other requests were changing the same records, and nothing was changed. Try again.", retryAfter: 1)
        }
        return .databaseAway
    }

    /// The status of a response with ``refusal``. Clients repeat a 503 by themselves.
    public var refusalStatus: Int { kind == .unknownOutcome || isImpossibleText ? refusal.code.httpStatus : 503 }
}

extension FieldsealError {
    /// There is no connection to the database.
    public static let databaseAway = FieldsealError(
        .unexpected, "The database can't be reached at the moment. Try again.", retryAfter: 2)
}
