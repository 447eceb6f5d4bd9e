// The entities that profiles, mailboxes, queues and user settings refer to, roles, and the audit. They have few attributes.

extension EntityDefinition {
    /// A person or a program in the organization.
    package static let systemUser = EntityDefinition(
        schemaName: "SystemUser",
        entitySetName: "systemusers",
        primaryID: "systemuserid",
        primaryName: "fullname",
        messages: [.create, .retrieve, .retrieveMultiple, .update],
        attributes: [
            .init("SystemUserId", .uniqueIdentifier, required: .system, validFor: [.create, .read]),
            .init("OwnerId", .uniqueIdentifier, required: .system, validFor: [.create, .read], column: "systemuserid"),
            .init("FullName", .string(200), required: .system),
            .init("DomainName", .string(1024), required: .system),
            .init("InternalEMailAddress", .string(100)),
            .init("BusinessUnitId", .lookup(["businessunit"]), required: .system),
            .init("AzureActiveDirectoryObjectId", .uniqueIdentifier),
            .init("IsDisabled", .boolean, required: .system, default: .bool(false)),
            // PostgreSQL computes these four attributes from `FullName` and `DomainName`.
            .init("FirstName", .string(200), validFor: [.read]),
            .init("LastName", .string(200), validFor: [.read]),
            .init("AccessMode", .picklist([0: "Read-Write", 4: "Non-interactive"]), validFor: [.read]),
            .init("IsIntegrationUser", .boolean, validFor: [.read]),
            .init("ApplicationId", .uniqueIdentifier, validFor: [.read]),
            .init("Title", .string(128)),
            .init("JobTitle", .string(100)),
            .init("MobilePhone", .string(64)),
            .init("Address1_Telephone1", .string(64)),
            .init("CreatedOn", .dateTime, validFor: [.read]),
            .init("ModifiedOn", .dateTime, validFor: [.read]),
            .init("VersionNumber", .bigInt, validFor: [.read]),
        ]
    )

    /// A group of users that can own records.
    package static let team = EntityDefinition(
        schemaName: "Team",
        entitySetName: "teams",
        primaryID: "teamid",
        primaryName: "name",
        messages: [.create, .retrieve, .retrieveMultiple, .update, .delete],
        attributes: [
            .init("TeamId", .uniqueIdentifier, required: .system, validFor: [.create, .read]),
            .init("OwnerId", .uniqueIdentifier, required: .system, validFor: [.create, .read], column: "teamid"),
            .init("Name", .string(160), required: .system),
            .init("BusinessUnitId", .lookup(["businessunit"]), required: .system),
            .init("TeamType", .picklist([0: "Owner"]), required: .system, validFor: [.create, .read], default: .int(0)),
            .init("IsDefault", .boolean, required: .system, validFor: [.read], default: .bool(false)),
            .init("Description", .memo(2000)),
            .init("EMailAddress", .string(100)),
            .init("AdministratorId", .lookup(["systemuser"])),
            .init("CreatedOn", .dateTime, validFor: [.read]),
            .init("ModifiedOn", .dateTime, validFor: [.read]),
            .init("VersionNumber", .bigInt, validFor: [.read]),
        ]
    )

    /// A part of the organization.
    package static let businessUnit = EntityDefinition(
        schemaName: "BusinessUnit",
        entitySetName: "businessunits",
        primaryID: "businessunitid",
        primaryName: "name",
        messages: [.retrieve, .retrieveMultiple],
        attributes: [
            .init("BusinessUnitId", .uniqueIdentifier, required: .system, validFor: [.read]),
            .init("Name", .string(160), required: .system, validFor: [.read]),
            .init("ParentBusinessUnitId", .lookup(["businessunit"]), validFor: [.read]),
            .init("IsDisabled", .boolean, required: .system, validFor: [.read], default: .bool(false)),
            .init("Description", .memo(2000), validFor: [.read]),
            .init("EMailAddress", .string(100), validFor: [.read]),
            .init("CreatedOn", .dateTime, validFor: [.read]),
            .init("ModifiedOn", .dateTime, validFor: [.read]),
            .init("VersionNumber", .bigInt, validFor: [.read]),
        ]
    )

    /// The organization itself, as one record.
    package static let organization = EntityDefinition(
        schemaName: "Organization",
        entitySetName: "organizations",
        primaryID: "organizationid",
        primaryName: "name",
        messages: [.retrieve, .retrieveMultiple, .update],
        attributes: [
            .init("OrganizationId", .uniqueIdentifier, required: .system, validFor: [.read]),
            .init("Name", .string(160), required: .system, validFor: [.read]),
            .init("LanguageCode", .integer(0...2_147_483_647), required: .system, validFor: [.read], default: .int(1033)),
            .init("LocaleId", .integer(0...2_147_483_647), required: .system, validFor: [.read], default: .int(1033)),
            .init("EmailCorrelationEnabled", .boolean, required: .system, validFor: [.update, .read], default: .bool(true)),
            .init("EnableSmartMatching", .boolean, required: .system, validFor: [.update, .read], default: .bool(false)),
            // The largest attachment in bytes. The size of a router's request limits it.
            .init(
                "MaxUploadFileSize", .integer(1...8_388_608), required: .system, validFor: [.update, .read],
                default: .int(5_242_880)),
            .init("FiscalCalendarStart", .dateTime, required: .system, validFor: [.update, .read]),
            .init(
                "FiscalPeriodType", .picklist(fiscalPeriods), required: .system, validFor: [.update, .read], default: .int(2002)),
            .init("ModifiedOn", .dateTime, validFor: [.read]),
            .init("VersionNumber", .bigInt, validFor: [.read]),
        ]
    )

    /// A currency that records may refer to.
    package static let transactionCurrency = EntityDefinition(
        schemaName: "TransactionCurrency",
        entitySetName: "transactioncurrencies",
        primaryID: "transactioncurrencyid",
        primaryName: "currencyname",
        messages: [.retrieve, .retrieveMultiple],
        attributes: [
            .init("TransactionCurrencyId", .uniqueIdentifier, required: .system, validFor: [.read]),
            .init("CurrencyName", .string(100), required: .system, validFor: [.read]),
            .init("ISOCurrencyCode", .string(5), required: .system, validFor: [.read]),
            .init("CurrencySymbol", .string(13), required: .system, validFor: [.read]),
            .init("ExchangeRate", .decimal, required: .system, validFor: [.read]),
            .init("CurrencyPrecision", .integer(0...10), required: .system, validFor: [.read], default: .int(2)),
            .init("StateCode", .state([0: "Active"]), required: .system, validFor: [.read], default: .int(0)),
            .init("StatusCode", .status([1: "Active"]), required: .system, validFor: [.read], default: .int(1)),
            .init("VersionNumber", .bigInt, validFor: [.read]),
        ]
    )

    /// A role. The four roles are fixed.
    package static let role = EntityDefinition(
        schemaName: "Role",
        entitySetName: "roles",
        primaryID: "roleid",
        primaryName: "name",
        messages: [.retrieve, .retrieveMultiple],
        attributes: [
            .init("RoleId", .uniqueIdentifier, required: .system, validFor: [.read]),
            .init("Name", .string(100), required: .system, validFor: [.read]),
            .init("BusinessUnitId", .lookup(["businessunit"]), required: .system, validFor: [.read]),
            .init("IsManaged", .boolean, required: .system, validFor: [.read], default: .bool(true)),
            .init("ParentRootRoleId", .lookup(["role"]), validFor: [.read]),
            // Tools recognize the role System Administrator by this attribute, although this service has no role templates.
            .init("RoleTemplateId", .lookup(["roletemplate"]), validFor: [.read]),
            .init("VersionNumber", .bigInt, validFor: [.read]),
        ]
    )

    /// The entries of the audit: changes of records. Triggers in the database write the entries. An entry never has the value of an
    /// encrypted attribute.
    package static let audit = EntityDefinition(
        schemaName: "Audit",
        entitySetName: "audits",
        primaryID: "auditid",
        primaryName: nil,
        messages: [.retrieve, .retrieveMultiple],
        attributes: [
            .init("AuditId", .uniqueIdentifier, required: .system, validFor: [.read]),
            .init("CreatedOn", .dateTime, required: .system, validFor: [.read]),
            .init("Action", .picklist(auditedOperations), required: .system, validFor: [.read]),
            .init("Operation", .picklist(auditedOperations), required: .system, validFor: [.read]),
            .init("ObjectId", .uniqueIdentifier, required: .system, validFor: [.read]),
            .init("ObjectTypeCode", .entityName, required: .system, validFor: [.read]),
            .init("UserId", .lookup(["systemuser"]), validFor: [.read]),
            .init("UserIdName", .string(200), validFor: [.read]),
            .init("CallingUserId", .lookup(["systemuser"]), validFor: [.read]),
            .init("AttributeMask", .memo(100_000), validFor: [.read]),
            .init("ChangeData", .memo(1_048_576), validFor: [.read]),
            .init("TransactionId", .string(20), required: .system, validFor: [.read]),
            .init("DatabaseRole", .string(63), required: .system, validFor: [.read]),
            .init("VersionNumber", .bigInt, validFor: [.read]),
        ]
    )

    private static let fiscalPeriods =
        [2000: "Annually", 2001: "Semiannually", 2002: "Quarterly", 2003: "Monthly", 2004: "4-Week Period"] as OptionLabels

    private static let auditedOperations = [1: "Create", 2: "Update", 3: "Delete"] as OptionLabels
}
