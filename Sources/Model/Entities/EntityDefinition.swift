import PostgresClient

/// What an entity is: its names, its attributes, and which of them are encrypted.
public final class EntityDefinition: Sendable {
    /// What may be asked of an entity's records.
    public enum Message: String, Sendable, CaseIterable {
        case create, retrieve, retrieveMultiple, update, delete
        /// To give a record to another owner, and to share it: for entities that have owners.
        case assign, share
    }

    public let schemaName: String
    /// The table's name, and the one that clients use.
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
    /// The boolean column that tells, for each encrypted attribute, whether it has a value.
    public let setFlags: [String: String]
    /// What the server fills in, by the attributes' names.
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

    /// Whether records know the message.
    public func has(_ message: Message) -> Bool {
        switch message {
        case .assign, .share: isUserOwned
        default: messages.contains(message)
        }
    }

    /// The attributes whose values are sealed.
    public var encryptedAttributes: [AttributeDefinition] { attributes.filter(\.isEncrypted) }

    /// The table of its cells.
    package var cellTable: String { "\(logicalName)_cell" }

    /// The name by which a cell of the attribute is authenticated.
    package func cellName(_ attribute: String) -> String { "\(logicalName).\(attribute)" }
}
