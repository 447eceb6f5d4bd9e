// The messages of entities, which clients read when they open a table. They are read-only views.

extension EntityDefinition {
    /// A message of the Web API.
    package static let sdkMessage = EntityDefinition(
        schemaName: "SdkMessage",
        entitySetName: "sdkmessages",
        primaryID: "sdkmessageid",
        primaryName: "name",
        messages: [.retrieve, .retrieveMultiple],
        attributes: [
            .init("SdkMessageId", .uniqueIdentifier, required: .system, validFor: [.read]),
            .init("Name", .string(256), required: .system, validFor: [.read]),
            .init("IsActive", .boolean, validFor: [.read]),
            .init("IsPrivate", .boolean, validFor: [.read]),
            .init("VersionNumber", .bigInt, validFor: [.read]),
        ]
    )

    /// The fact that one entity supports one message.
    package static let sdkMessageFilter = EntityDefinition(
        schemaName: "SdkMessageFilter",
        entitySetName: "sdkmessagefilters",
        primaryID: "sdkmessagefilterid",
        primaryName: "name",
        messages: [.retrieve, .retrieveMultiple],
        attributes: [
            .init("SdkMessageFilterId", .uniqueIdentifier, required: .system, validFor: [.read]),
            .init("Name", .string(256), required: .system, validFor: [.read]),
            .init("SdkMessageId", .lookup(["sdkmessage"]), required: .system, validFor: [.read]),
            .init("SdkMessageIdName", .string(256), validFor: [.read]),
            .init("PrimaryObjectTypeCode", .entityName, validFor: [.read]),
            .init("SecondaryObjectTypeCode", .entityName, validFor: [.read]),
            .init("IsCustomProcessingStepAllowed", .boolean, validFor: [.read]),
            .init("IsVisible", .boolean, validFor: [.read]),
            .init("VersionNumber", .bigInt, validFor: [.read]),
        ]
    )
}
