import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// Systemusers that are disabled with the Web API. The clients and people that act as a disabled systemuser lose access. If SQL
/// enables the systemuser again, these clients and people stay without access.
enum DisabledUsers {
    /// Whether a write disables or enables a systemuser.
    static func isTouched(by input: ParsedValues) -> Bool { change(in: input) != nil }

    /// The name of a user who is disabled; nil if the user is not disabled.
    static func name(of user: UUID, _ session: Session, on connection: isolated PostgresConnection) throws -> String? {
        let rows = try connection.query(
            "SELECT coalesce(isdisabled, false), fullname FROM \(session.organization.qualified("systemuser")) WHERE systemuserid = $1",
            [.uuid(user)])
        guard let row = rows.first else { return nil }
        guard try row.decode(0, as: Bool.self) || session.state.isDisabled(systemUser: user) else { return nil }
        return try row.decodeIfPresent(1, as: String.self).flatMap { $0.isEmpty ? nil : $0 } ?? user.text
    }

    private static func change(in input: ParsedValues) -> Bool? {
        guard input.entity.logicalName == EntityDefinition.systemUser.logicalName, let value = input.values["isdisabled"] else {
            return nil
        }
        return value == .bool(true)
    }

    /// Runs a write. If the write disables or enables a systemuser, attests this change in the write's transaction.
    ///
    /// - Parameter write: Returns nil when there is no such record.
    static func attesting<Outcome>(
        _ input: ParsedValues,
        _ id: UUID,
        _ session: Session,
        on connection: isolated PostgresConnection,
        _ write: () throws -> Outcome?
    ) throws -> Outcome? {
        guard let isDisabled = change(in: input) else { return try write() }
        guard !isDisabled || ![session.caller.systemUserID, session.caller.impersonation?.systemUserID].contains(id) else {
            throw FieldsealError(
                .invalidArgument,
                "This request is sent as that user, and a user can't disable itself. Let another administrator do it."
            ).about("isdisabled")
        }
        return try connection.atomically {
            try session.confirm(on: connection)
            return try AttestedState.change(of: session.organization, under: session.deployment.kek, on: connection) { change in
                if !isDisabled {
                    try change.refuseGivingAccess(by: session.caller, on: connection) { $0.isAdministrator(id) }
                }
                return try change.keepingAnAdministrator(evenIfLast: !isDisabled, on: connection) { change in
                    guard let outcome = try write() else { return nil }
                    let grant = Grant.disabledSystemUser(id)
                    guard try change.grants.names(grant.name) != isDisabled else { return outcome }
                    if isDisabled { _ = try change.grant(grant) } else { try change.remove(grant.name) }
                    try change.append(
                        SecurityEvent(
                            isDisabled ? .systemUserDisabled : .systemUserEnabled, .succeeded,
                            details: "\(EntityDefinition.systemUser.logicalName) \(id.text)"),
                        by: session.caller, on: connection)
                    return outcome
                }
            }
        }
    }

    /// Runs a write that always has an outcome. If the write disables or enables a systemuser, attests this change in the write's
    /// transaction.
    static func attesting<Outcome>(
        _ input: ParsedValues,
        _ id: UUID,
        _ session: Session,
        on connection: isolated PostgresConnection,
        _ write: () throws -> Outcome
    ) throws -> Outcome {
        guard isTouched(by: input) else { return try write() }
        let outcome: Outcome? = try attesting(input, id, session, on: connection) { Optional(try write()) }
        guard let outcome else { throw FieldsealError(.unexpected, "The write had no outcome.") }
        return outcome
    }
}
