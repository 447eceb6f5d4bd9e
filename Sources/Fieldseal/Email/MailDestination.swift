import Foundation
import PostgresClient

/// The attributes that say where a record's passwords are sent: whoever may change them could have the passwords brought to a host of
/// his own.
struct MailDestination {
    private let entity: EntityDefinition
    private let attributes: Set<String>

    /// Nil for entities that name no server.
    init?(of entity: EntityDefinition) {
        switch entity.logicalName {
        case "emailserverprofile":
            attributes = [
                "defaultserverlocation", "incomingserverlocation", "incomingportnumber", "incomingusessl", "outgoingserverlocation",
                "outgoingportnumber", "outgoingusessl", "servertype", "usesamesettingsforoutgoingconnections",
                // Whether a refresh token goes to a mail server as it is, and for which tenant tokens are asked.
                "incomingauthenticationprotocol", "outgoingauthenticationprotocol", "exchangeonlinetenantid",
            ]
        case "mailbox": attributes = ["emailserverprofile"]
        default: return nil
        }
        self.entity = entity
    }

    func isTouched(by input: RecordInput) -> Bool { input.values.keys.contains(where: attributes.contains) }

    /// Whether the record holds a password that would be sent elsewhere, and is not set anew along with it.
    func moves(_ input: RecordInput, _ id: UUID, in organization: Organization, on connection: isolated PostgresConnection) throws
        -> Bool
    {
        var parameters: [PostgresParameter] = [.uuid(id)]
        var differences: [String] = []
        for attribute in entity.attributes where attributes.contains(attribute.logicalName) {
            guard let value = input.values[attribute.logicalName] else { continue }
            parameters.append(attribute.type.parameter(value))
            differences.append("\(attribute.column) IS DISTINCT FROM \(attribute.type.placeholder(parameters.count))")
        }
        let flags = entity.encryptedAttributes.compactMap { entity.setFlags[$0.logicalName] }
            .filter { flag in
                !entity.encryptedAttributes.contains {
                    entity.setFlags[$0.logicalName] == flag && input.secrets[$0.logicalName] != nil
                }
            }
            .map(quoteIdentifier)
        guard !flags.isEmpty else { return false }
        let rows = try connection.query(
            """
            SELECT 1 FROM \(organization.qualified(entity.logicalName)) WHERE \(entity.idColumn) = $1
               AND (\(flags.joined(separator: " OR "))) AND (\(differences.joined(separator: " OR ")))
            """, parameters)
        return !rows.isEmpty
    }
}
