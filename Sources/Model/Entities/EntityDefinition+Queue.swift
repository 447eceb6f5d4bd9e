// Facts of the entity's metadata: names, types, lengths, options, and what a client may create, update and read.

extension EntityDefinition {
    /// A queue of a team, with the credentials of its mailbox.
    package static let queue = EntityDefinition(
        schemaName: "Queue",
        entitySetName: "queues",
        primaryID: "queueid",
        primaryName: "name",
        messages: [.create, .delete, .retrieve, .retrieveMultiple, .update],
        isSetColumns: ["emailpassword": "isemailpasswordset"],
        attributes: queueAttributes
    )

    private static let queueAttributes: [AttributeDefinition] = [
        .init("BusinessUnitId", .lookup(["businessunit"])),
        .init("Description", .memo(2000)),
        .init("EMailAddress", .string(100)),
        .init(
            "EmailRouterAccessApproval",
            .picklist([
                0: "Empty",
                1: "Approved",
                2: "Pending Approval",
                3: "Rejected",
            ]),
            required: .system, validFor: [.update, .read]
        ),
        .init("EntityImage", .image),
        .init("IgnoreUnsolicitedEmail", .boolean, default: .bool(false)),
        .init("ImportSequenceNumber", .integer(-2147483648...2147483647), validFor: [.create, .read]),
        .init(
            "IncomingEmailDeliveryMethod",
            .picklist([
                0: "None",
                2: "Server-Side Synchronization or Email Router",
                3: "Forward Mailbox",
            ]),
            required: .system
        ),
        .init(
            "IncomingEmailFilteringMethod",
            .picklist([
                0: "All email messages",
                1: "Email messages in response to Dynamics 365 for Customer Engagement email",
                2: "Email messages from Dynamics 365 for Customer Engagement Leads, Contacts and Accounts",
                3: "Email messages from Dynamics 365 for Customer Engagement records that are email enabled",
            ]),
            required: .system
        ),
        .init("Name", .string(200), required: .application),
        .init(
            "OutgoingEmailDeliveryMethod",
            .picklist([
                0: "None",
                2: "Server-Side Synchronization or Email Router",
            ]),
            required: .system
        ),
        .init("OverriddenCreatedOn", .dateTime, validFor: [.create, .read]),
        .init("OwnerId", .owner, required: .system),
        .init("OwnerIdType", .entityName, required: .system, validFor: [.read]),
        .init("PrimaryUserId", .lookup(["systemuser"])),
        .init("QueueId", .uniqueIdentifier, required: .system, validFor: [.create, .read]),
        .init("QueueViewType", .picklist([0: "Public", 1: "Private"]), required: .system),
        .init("StateCode", .state([0: "Active", 1: "Inactive"]), required: .system, validFor: [.update, .read]),
        .init("StatusCode", .status([1: "Active", 2: "Inactive"]), required: .system),
        .init("TransactionCurrencyId", .lookup(["transactioncurrency"])),
        .init("AllowEmailCredentials", .boolean, required: .system, default: .bool(false)),
        .init("BusinessUnitIdName", .string(100), validFor: [.read]),
        .init("CreatedBy", .lookup(["systemuser"]), validFor: [.read]),
        .init("CreatedByName", .string(100), validFor: [.read]),
        .init("CreatedByYomiName", .string(100), validFor: [.read]),
        .init("CreatedOn", .dateTime, validFor: [.read]),
        .init("CreatedOnBehalfBy", .lookup(["systemuser"]), validFor: [.read]),
        .init("CreatedOnBehalfByName", .string(100), validFor: [.read]),
        .init("CreatedOnBehalfByYomiName", .string(100), validFor: [.read]),
        .init("DefaultMailbox", .lookup(["mailbox"]), validFor: [.read]),
        .init("DefaultMailboxName", .string(100), validFor: [.read]),
        .init("EmailPassword", .string(200), isEncrypted: true),
        .init("EmailUsername", .string(200)),
        .init("EntityImage_Timestamp", .bigInt, validFor: [.read]),
        .init("EntityImage_URL", .string(200), validFor: [.read]),
        .init("EntityImageId", .uniqueIdentifier, validFor: [.read]),
        .init("ExchangeRate", .decimal, validFor: [.read]),
        .init(
            "IsEmailAddressApprovedByO365Admin", .boolean,
            required: .system, validFor: [.read], default: .bool(false)
        ),
        .init("IsFaxQueue", .boolean, validFor: [.read], default: .bool(false)),
        .init("ModifiedBy", .lookup(["systemuser"]), validFor: [.read]),
        .init("ModifiedByName", .string(100), validFor: [.read]),
        .init("ModifiedByYomiName", .string(100), validFor: [.read]),
        .init("ModifiedOn", .dateTime, validFor: [.read]),
        .init("ModifiedOnBehalfBy", .lookup(["systemuser"]), validFor: [.read]),
        .init("ModifiedOnBehalfByName", .string(100), validFor: [.read]),
        .init("ModifiedOnBehalfByYomiName", .string(100), validFor: [.read]),
        .init("NumberOfItems", .integer(-2147483648...2147483647), validFor: [.read]),
        .init("NumberOfMembers", .integer(-2147483648...2147483647), validFor: [.read]),
        .init("OrganizationId", .lookup(["organization"]), required: .system, validFor: [.read]),
        .init("OrganizationIdName", .string(100), required: .system, validFor: [.read]),
        .init("OwnerIdName", .string(100), required: .system, validFor: [.read]),
        .init("OwnerIdYomiName", .string(100), required: .system, validFor: [.read]),
        .init("OwningBusinessUnit", .lookup(["businessunit"]), validFor: [.read]),
        .init("OwningTeam", .lookup(["team"]), validFor: [.read]),
        .init("OwningUser", .lookup(["systemuser"]), validFor: [.read]),
        .init("PrimaryUserIdName", .string(100), validFor: [.read]),
        .init("PrimaryUserIdYomiName", .string(100), validFor: [.read]),
        .init("QueueTypeCode", .picklist([1: "Default Value"]), validFor: [.read]),
        .init("TransactionCurrencyIdName", .string(100), validFor: [.read]),
        .init("VersionNumber", .bigInt, validFor: [.read]),
    ]
}
