import PostgresClient

/// The definition of an entity: its names, its attributes, and which of them are encrypted.
public final class EntityDefinition: Sendable {
    /// The messages that an entity's records support.
    public enum Message: String, Sendable, CaseIterable {
        case create, retrieve, retrieveMultiple, update, delete
        /// Assigning a record to another owner, and sharing it: for entities with owners.
        case assign, share
    }

    public let schemaName: String
    /// The table's name, which clients use too.
    public let logicalName: String
    /// The name of the collection in a URL.
    public let entitySetName: String
    /// The attribute that holds a record's id.
    public let primaryID: String
    /// The same as SQL writes it.
    package let idColumn: String
    /// The attribute that holds a record's name, if it has one.
    public let primaryName: String?
    public let messages: Set<Message>
    public let attributes: [AttributeDefinition]
    /// For each encrypted attribute, the boolean column that says whether it has a value.
    public let setFlags: [String: String]
    /// Values that the server fills in, by attribute.
    package let fillings: [(name: String, filling: AttributeDefinition.Filling)]
    private let byName: [String: Int]

    init(
        schemaName: String,
        entitySetName: String,
        primaryID: String,
        primaryName: String?,
        messages: Set<Message>,
        setFlags: [String: String] = [:],
        attributes: [AttributeDefinition]
    ) {
        self.schemaName = schemaName
        logicalName = schemaName.lowercased()
        self.entitySetName = entitySetName
        self.primaryID = primaryID
        idColumn = quoteIdentifier(primaryID)
        self.primaryName = primaryName
        self.messages = messages
        self.setFlags = setFlags
        self.attributes = attributes
        fillings = attributes.compactMap { attribute in attribute.filling.map { (attribute.logicalName, $0) } }
        byName = Dictionary(attributes.enumerated().map { ($1.logicalName, $0) }, uniquingKeysWith: { first, _ in first })
    }

    /// The attribute of that logical name.
    public subscript(_ logicalName: String) -> AttributeDefinition? { byName[logicalName].map { attributes[$0] } }

    /// Whether records support the message.
    public func has(_ message: Message) -> Bool {
        switch message {
        case .assign, .share: isUserOwned
        default: messages.contains(message)
        }
    }

    /// The encrypted attributes.
    public var encryptedAttributes: [AttributeDefinition] { attributes.filter(\.isEncrypted) }

    /// The table of the entity's cells.
    package var cellTable: String { "\(logicalName)_cell" }

    /// The attribute's name in the authenticated place of a cell.
    package func cellName(_ attribute: String) -> String { "\(logicalName).\(attribute)" }
}
