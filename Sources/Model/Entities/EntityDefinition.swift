import PostgresClient

/// The definition of an entity: its names, its attributes, and which of them are encrypted.
package final class EntityDefinition: Sendable {
    /// The messages that an entity's records support.
    package enum Message: String, Sendable, CaseIterable {
        case create, retrieve, retrieveMultiple, update, delete
        /// Assigning a record to another owner, and sharing it: for entities with owners.
        case assign, share
    }

    package let schemaName: String
    /// The table's name, which clients use too.
    package let logicalName: String
    /// The name of the collection in a URL.
    package let entitySetName: String
    /// The attribute that holds a record's id.
    package let primaryID: String
    /// The column of ``primaryID``, quoted for SQL.
    package let idColumn: String
    /// The attribute that holds a record's name, if it has one.
    package let primaryName: String?
    package let messages: Set<Message>
    package let attributes: [AttributeDefinition]
    /// For each encrypted attribute, the boolean column that says whether it has a value.
    package let isSetColumns: [String: String]
    /// Values that the server fills in, by attribute.
    package let serverDefaults: [(name: String, serverDefault: AttributeDefinition.ServerDefault)]
    private let byName: [String: Int]

    init(
        schemaName: String,
        entitySetName: String,
        primaryID: String,
        primaryName: String?,
        messages: Set<Message>,
        isSetColumns: [String: String] = [:],
        attributes: [AttributeDefinition]
    ) {
        self.schemaName = schemaName
        logicalName = schemaName.lowercased()
        self.entitySetName = entitySetName
        self.primaryID = primaryID
        idColumn = quoteIdentifier(primaryID)
        self.primaryName = primaryName
        self.messages = messages
        self.isSetColumns = isSetColumns
        self.attributes = attributes
        serverDefaults = attributes.compactMap { attribute in attribute.serverDefault.map { (attribute.logicalName, $0) } }
        byName = Dictionary(attributes.enumerated().map { ($1.logicalName, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The attribute of that logical name.
    package subscript(_ logicalName: String) -> AttributeDefinition? { byName[logicalName].map { attributes[$0] } }

    /// Whether records support the message.
    package func has(_ message: Message) -> Bool {
        switch message {
        case .assign, .share: isUserOwned
        default: messages.contains(message)
        }
    }

    /// The attribute with the id of a record's parent of the same entity; nil for entities without a hierarchy.
    package var parentAttribute: String? {
        logicalName == EntityDefinition.businessUnit.logicalName ? "parentbusinessunitid" : nil
    }

    /// The encrypted attributes.
    package var encryptedAttributes: [AttributeDefinition] { attributes.filter(\.isEncrypted) }

    /// The table of the entity's cells.
    package var cellTable: String { "\(logicalName)_cell" }

    /// The attribute's name in the authenticated place of a cell.
    package func cellName(_ attribute: String) -> String { "\(logicalName).\(attribute)" }
}
