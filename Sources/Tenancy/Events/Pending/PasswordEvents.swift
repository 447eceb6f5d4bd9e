package import CellCrypto
package import Foundation
import JSON
package import Model
package import PostgresClient

/// The events of the passwords that one write sets, replaces or clears.
package struct PasswordEvents: Sendable {
    /// The change of one password.
    private struct Change {
        /// The column that says whether the password was set before; nil for a new record.
        let flag: String?
        let isCleared: Bool
        /// The event to insert if the password was not set before, and the event to insert if it was.
        let set: PendingEvent
        let replaced: PendingEvent
    }

    private let organization: Organization
    private let kek: KeyEncryptionKey
    private let changes: [Change]

    /// - Parameter secrets: New values by attribute; nil clears the password.
    package init(_ entity: EntityDefinition, _ id: UUID, _ secrets: [String: String?], in session: Session) {
        organization = session.organization
        kek = session.kek
        let now = Date()
        changes = secrets.sorted { $0.key < $1.key }.map { attribute, value in
            let details = "\(entity.logicalName)(\(id.text)).\(attribute)"
            return Change(
                flag: entity.isSetColumns[attribute], isCleared: value == nil,
                set: PendingEvent(.passwordSet, details: details, by: session.caller, at: now),
                replaced: PendingEvent(
                    value == nil ? .passwordCleared : .passwordReplaced, details: details, by: session.caller, at: now))
        }
    }

    /// Whether the write changes no password.
    package var isEmpty: Bool { changes.isEmpty }

    /// The columns that say which of the passwords are set.
    package var flags: [String] { changes.compactMap(\.flag) }

    private static let columns = "(occurred_on, kind, outcome, actor, address, request_id, details, tag)"

    /// Returns the inserts of a new record's events.
    package func insertions() throws -> [RowInsert] {
        try changes.map { change in
            try change.set.insert(into: organization.qualified("unchained_event"), organization, kek)
        }
    }

    /// The statement that inserts the event of one replaced password.
    package static func replacement(_ event: PendingEvent, _ organization: Organization, _ kek: KeyEncryptionKey) throws -> (
        sql: String, parameters: [PostgresParameter]
    ) {
        var parameters: [PostgresParameter] = []
        let row = try event.row(organization, kek, &parameters)
        return ("INSERT INTO \(organization.qualified("unchained_event")) \(columns) VALUES \(row)", parameters)
    }

    /// The part of an update's statement that inserts the events.
    ///
    /// - Parameters:
    ///   - updated: The name of the updated row. This row has the earlier values of ``flags``, with the prefix `was_`.
    ///   - parameters: The statement's parameters. This method appends the parameters of the events.
    package func insertion(of updated: String, _ parameters: inout [PostgresParameter]) throws -> String {
        let rows = try changes.map { change in
            let wasSet = change.flag.map { quoteIdentifier("was_\($0)") } ?? "false"
            let replaced = try change.replaced.row(organization, kek, &parameters)
            let ifReplaced = "SELECT v.* FROM \(updated), (VALUES \(replaced)) AS v WHERE \(wasSet)"
            if change.isCleared { return ifReplaced }
            let set = try change.set.row(organization, kek, &parameters)
            return "\(ifReplaced) UNION ALL SELECT v.* FROM \(updated), (VALUES \(set)) AS v WHERE NOT \(wasSet)"
        }
        return "INSERT INTO \(organization.qualified("unchained_event")) \(Self.columns) \(rows.joined(separator: " UNION ALL "))"
    }
}
