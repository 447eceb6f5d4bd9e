/// All entities.
package enum EntityCatalog {
    package static let all: [EntityDefinition] = [
        .emailServerProfile, .mailbox, .queue, .userSettings,
        .systemUser, .team, .businessUnit, .organization, .transactionCurrency, .role, .audit,
        .email, .activityParty, .activityMimeAttachment, .traceLog, .sdkMessage, .sdkMessageFilter,
        .systemUserRoles, .teamRoles, .teamMembership,
    ]

    /// The entities with encrypted attributes, in the order in which their cell tables are locked.
    package static let withCells = all.filter { !$0.encryptedAttributes.isEmpty }

    private static let bySet = Dictionary(uniqueKeysWithValues: all.map { ($0.entitySetName, $0) })
    private static let byLogicalName = Dictionary(uniqueKeysWithValues: all.map { ($0.logicalName, $0) })

    /// The entity with that collection name in a URL.
    package static func entity(set name: String) -> EntityDefinition? { bySet[name] }

    /// The entity with that logical name.
    package static func entity(_ logicalName: String) -> EntityDefinition? { byLogicalName[logicalName] }
}
