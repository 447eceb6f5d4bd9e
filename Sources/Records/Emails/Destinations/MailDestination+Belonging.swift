package import CellCrypto
import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

// The queue or the user that a mailbox belongs to, and whose stored credential it may use.
extension MailDestination {
    /// The settings of the mailbox that a new queue or user gets. These settings bind the mailbox to the queue or user before the
    /// mailbox has a server.
    static func belonging(_ mailbox: UUID, to holder: UUID, of entity: EntityDefinition) -> MailDestination {
        let known = ["regardingobjectid": holder.text, "regardingobjecttypecode": entity.logicalName]
        let place = Place(entity: EntityDefinition.mailbox.logicalName, id: mailbox)
        return MailDestination(place, attributes(of: place.entity).map { known[$0] })
    }

    /// The statement that authorizes these settings, which have no tag yet.
    func insertion(
        in organization: Organization, under kek: KeyEncryptionKey
    ) throws -> (sql: String, parameters: [PostgresParameter]) {
        (
            "INSERT INTO \(organization.qualified("mail_destination")) (entity, record_id, kek_id, tag) VALUES ($1, $2, $3, $4)",
            [.text(place.entity), .uuid(place.id), .text(kek.id), .bytes(try tag(in: organization, under: kek))]
        )
    }

    /// The attributes that say which queue or user a mailbox belongs to, if a write repeats their present values; empty otherwise.
    /// An update can repeat these values, and can't change them.
    func agreed(with input: ParsedValues) -> Set<String> {
        guard let holder = input.agreed["regardingobjectid"], value("regardingobjectid") == holder.id.text,
            value("regardingobjecttypecode") == holder.entity.logicalName
        else { return [] }
        return ["regardingobjectid", "regardingobjecttypecode"]
    }

    /// Text for an error: whose stored credential a mailbox may use, and at which servers. Empty for settings that name no queue or
    /// user.
    ///
    /// - Parameter after: The mailbox's settings after the write.
    func whose(
        at after: MailDestination, in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> String {
        guard let holder = value("regardingobjectid"), let type = value("regardingobjecttypecode") else { return "" }
        let profile = after.value("emailserverprofile").flatMap(UUID.init(text:))
        let rows = try connection.query(
            """
            SELECT \(MailServers.attributes.joined(separator: ", "))
              FROM \(organization.qualified("emailserverprofile")) WHERE emailserverprofileid = $1
            """, [.uuid(profile)])
        let servers = try rows.first.map { row in try MailServers { try row.decodeIfPresent($0, as: String.self) } }
        let names = servers?.names.joined(separator: ", ") ?? ""
        let use = names.isEmpty ? "has no server to go to yet" : "may go to \(names)"
        return "the \(type) \(holder), whose stored credential \(use)"
    }

    /// Binds mailboxes without a server and without a user name to their queues and users. Call it for an organization whose tags
    /// do not cover queues and users yet.
    package static func authorizeBelonging(
        in organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws {
        // Locks both tables, because servers of the previous version may write to them until the migration is committed.
        _ = try connection.query(
            "LOCK TABLE \(organization.qualified("mailbox")), \(organization.qualified("mail_destination")) IN SHARE ROW EXCLUSIVE MODE"
        )
        let untagged = try all([.mailbox], in: organization, on: connection).filter { destination, tag in
            tag == nil && destination.value("emailserverprofile") == nil && destination.value("username") == nil
        }
        try insert(untagged.map(\.destination), in: organization, under: kek, on: connection)
    }
}
