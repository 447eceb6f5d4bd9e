import Foundation
import Model
import PostgresClient
import Tenancy

/// The rights to a shared record (Dataverse's AccessRights, as a bit field).
package struct AccessRights: OptionSet, Sendable {
    package let rawValue: Int32
    package init(rawValue: Int32) { self.rawValue = rawValue }
    package static let read = AccessRights(rawValue: 1)
    package static let write = AccessRights(rawValue: 2)
    package static let append = AccessRights(rawValue: 4)
    package static let appendTo = AccessRights(rawValue: 16)
    package static let create = AccessRights(rawValue: 32)
    package static let delete = AccessRights(rawValue: 65_536)
    package static let share = AccessRights(rawValue: 262_144)
    package static let assign = AccessRights(rawValue: 524_288)

    /// These rights if the right to read is among them; empty otherwise, because no right has an effect without it.
    package var effective: AccessRights { contains(.read) ? self : [] }

    /// Each right with its name in Dataverse's messages.
    package static let named: [(right: AccessRights, name: String)] = [
        (.read, "ReadAccess"), (.write, "WriteAccess"), (.append, "AppendAccess"), (.appendTo, "AppendToAccess"),
        (.create, "CreateAccess"), (.delete, "DeleteAccess"), (.share, "ShareAccess"), (.assign, "AssignAccess"),
    ]
}
