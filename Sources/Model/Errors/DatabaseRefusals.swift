package import PostgresClient

// The errors that callers get when the database is unavailable or refuses a statement.
extension PostgresError {
    /// Whether a later retry may succeed, because nothing was done.
    package var isUnavailable: Bool { kind != .unknownOutcome && (isConnectionLoss || isReadOnly || isConflict) }

    /// Whether a text had the character U+0000, which PostgreSQL's texts can't contain.
    package var isImpossibleText: Bool { state == .untranslatableCharacter }

    /// Whether ``refusal`` describes the error to callers. Any other error is a fault of this program.
    package var isTold: Bool { kind == .unknownOutcome || isUnavailable || isImpossibleText }

    /// The error for callers after an unknown outcome, or while the database is unavailable. It has a time to retry only if nothing
    /// was done, because repeating a request with an unknown outcome may do it twice.
    package var refusal: FieldsealError {
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

    /// The status of a response with ``refusal``. Clients repeat a 503 automatically.
    package var refusalStatus: Int { kind == .unknownOutcome || isImpossibleText ? refusal.code.httpStatus : 503 }
}

extension FieldsealError {
    /// Other requests use all connections to the database.
    package static let connectionsBusy = FieldsealError(
        .unexpected, "All database connections of the server are in use. Try again in a few seconds.", retryAfter: 5)

    /// There is no connection to the database.
    package static let databaseAway = FieldsealError(
        .unexpected, "The database can't be reached at the moment. Try again.", retryAfter: 2)
}
