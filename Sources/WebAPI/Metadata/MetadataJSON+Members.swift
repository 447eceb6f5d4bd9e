import Authentication
import Foundation
import JSON
import Model
import Tenancy

// Members of metadata that clients use without checking that they exist. The members for features that this service does not
// have are false, null or empty.
extension MetadataJSON {
    /// The members of `EntityMetadata` other than the entity's names.
    static func members(of entity: EntityDefinition) -> [JSONValue.Member] {
        let noes = [
            "AutoCreateAccessTeams", "AutoRouteToOwnerQueue", "CanTriggerWorkflow", "ChangeTrackingEnabled",
            "EnforceStateTransitions",
            "EntityHelpUrlEnabled", "HasFeedback", "IsAIRUpdated", "IsArchivalEnabled", "IsAvailableOffline", "IsBPFEntity",
            "IsBusinessProcessEnabled", "IsDocumentManagementEnabled", "IsDocumentRecommendationsEnabled", "IsEnabledForCharts",
            "IsEnabledForExternalChannels", "IsEnabledForTrace", "IsImportable", "IsInteractionCentricEnabled",
            "IsKnowledgeManagementEnabled", "IsMSTeamsIntegrationEnabled", "IsOneNoteIntegrationEnabled", "IsQuickCreateEnabled",
            "IsReadingPaneEnabled", "IsRetentionEnabled", "IsRetrieveAuditEnabled", "IsRetrieveMultipleAuditEnabled",
            "IsSLAEnabled",
            "IsSolutionAware", "SyncToExternalSearchIndex", "UsesBusinessDataLabelTable",
        ]
        let nulls = [
            "CreatedOn", "DataProviderId", "DataSourceId", "EntityColor", "EntityHelpUrl", "ExternalCollectionName", "ExternalName",
            "HasChanged", "IconLargeName", "IconMediumName", "IconSmallName", "IconVectorName", "MobileOfflineFilters",
            "ModifiedOn",
            "OwnerId", "OwnerIdType", "OwningBusinessUnit", "RecurrenceBaseEntityLogicalName", "ReportViewName", "SettingOf",
            "Settings",
        ]
        let properties = [
            "CanBeInCustomEntityAssociation", "CanBeInManyToMany", "CanBePrimaryEntityInRelationship",
            "CanBeRelatedEntityInRelationship",
            "CanChangeHierarchicalRelationship", "CanChangeTrackingBeEnabled", "CanCreateAttributes", "CanCreateCharts",
            "CanCreateForms",
            "CanCreateViews", "CanEnableSyncToExternalSearchIndex", "CanModifyAdditionalSettings", "IsConnectionsEnabled",
            "IsDuplicateDetectionEnabled", "IsMailMergeEnabled", "IsMappable", "IsOfflineInMobileClient",
            "IsReadOnlyInMobileClient",
            "IsRenameable", "IsValidForQueue", "IsVisibleInMobile", "IsVisibleInMobileClient",
        ]
        var members: [JSONValue.Member] = [
            .init("ObjectTypeCode", typeCodes[entity.logicalName].map { .integer($0) } ?? .null),
            .init("TableType", "Standard"),
            .init("ActivityTypeMask", entity.logicalName == "email" ? 2 : 0),
            .init("CollectionSchemaName", .string(collectionName(of: entity))),
            .init("DaysSinceRecordLastModified", 0),
            .init("HasEmailAddresses", .bool(entity["emailaddress"] != nil || entity["internalemailaddress"] != nil)),
            .init("IntroducedVersion", "9.2.0.0"),
            .init("IsActivityParty", .bool(["systemuser", "queue"].contains(entity.logicalName))),
            .init("IsChildEntity", .bool(["activityparty", "activitymimeattachment"].contains(entity.logicalName))),
            .init("IsOptimisticConcurrencyEnabled", .bool(entity.messages.contains(.update))),
            .init("IsStateModel", .bool(entity["statecode"] != nil)),
            .init("PrimaryImageAttribute", .text(entity["entityimage"]?.logicalName)),
            .init("Privileges", .array(privileges(of: entity))),
        ]
        for name in noes { members.append(.init(name, false)) }
        for name in nulls { members.append(.init(name, nil)) }
        for name in properties { members.append(.init(name, managed(false, name.lowercased()))) }
        return members
    }

    /// Dataverse's object type codes of tables, by the tables' logical names.
    private static let typeCodes: [String: Int64] = [
        "systemuser": 8, "team": 9, "businessunit": 10, "systemuserroles": 15, "teammembership": 23, "teamroles": 40,
        "activityparty": 135, "usersettings": 150, "activitymimeattachment": 1_001,
        "organization": 1_019, "role": 1_036, "queue": 2_020, "email": 4_202, "audit": 4_567, "sdkmessage": 4_606,
        "sdkmessagefilter": 4_607, "tracelog": 8_050, "transactioncurrency": 9_105, "emailserverprofile": 9_605, "mailbox": 9_606,
    ]

    private static func privileges(of entity: EntityDefinition) -> [JSONValue] {
        entity.privileges.map { message, name in
            // Parts of a record, and the settings of a user, have no owner of their own, but roles may have the depth `own` for
            // them.
            let isOwn = Role.allCases.contains { PrivilegeTable.depth(of: message, on: entity, for: $0) == .own }
            let type =
                switch message {
                case .retrieve, .retrieveMultiple: "Read"
                case .update: "Write"
                default: message.rawValue.capitalized
                }
            return [
                "Name": .string(name), "PrivilegeId": .string(privilegeID(name)), "PrivilegeType": .string(type),
                "CanBeBasic": .bool(entity.isUserOwned || isOwn), "CanBeLocal": .bool(entity.isUserOwned), "CanBeDeep": false,
                "CanBeGlobal": true,
                "CanBeEntityReference": false, "CanBeParentEntityReference": false, "CanBeRecordFilter": false,
            ]
        }
    }

    /// The members of `AttributeMetadata` other than the attribute's names and type.
    static func members(of attribute: AttributeDefinition, in entity: EntityDefinition) -> [JSONValue.Member] {
        let noes = ["CanBeSecuredForCreate", "CanBeSecuredForRead", "CanBeSecuredForUpdate", "IsDataSourceSecret"]
        let nulls = [
            "AutoNumberFormat", "CreatedOn", "DeprecatedVersion", "ExternalName", "HasChanged", "InheritsFrom", "LinkedAttributeId",
            "ModifiedOn",
        ]
        let isRead = attribute.validFor.contains(.read) && !attribute.isEncrypted
        let place = entity.attributes.firstIndex { $0.logicalName == attribute.logicalName } ?? 0
        var members: [JSONValue.Member] = [
            .init("ColumnNumber", .integer(Int64(place + 1))),
            .init("IntroducedVersion", "9.2.0.0"),
            .init("IsRequiredForForm", .bool(attribute.required == .application)),
            .init("IsRetrievable", .bool(isRead)),
            .init("IsValidForForm", true),
            .init("IsValidForGrid", .bool(isRead)),
            .init("IsValidODataAttribute", .bool(attribute.validFor.contains(.read) || attribute.isEncrypted)),
            .init("SourceType", 0),
            .init("Settings", nil),
            .init("IsSortableEnabled", managed(isRead && !attribute.type.isImage, "canmodifyissortablesettings")),
            .init("IsGlobalFilterEnabled", managed(false, "canmodifyglobalfiltersettings")),
            .init("CanModifyAdditionalSettings", managed(false, "canmodifyadditionalsettings")),
        ]
        for name in noes { members.append(.init(name, false)) }
        for name in nulls { members.append(.init(name, nil)) }
        return members
    }

    // MARK: Names of collections

    /// The schema name with the ending of the entity set's name: `Mailboxes` from `Mailbox` and `mailboxes`.
    static func collectionName(of entity: EntityDefinition) -> String {
        let shared = zip(entity.schemaName.lowercased(), entity.entitySetName).prefix { $0 == $1 }.count
        let ending = String(entity.entitySetName.dropFirst(shared))
        return entity.schemaName.prefix(shared) + (ending == "collection" ? "Collection" : ending)
    }

    /// The name of the collection as words, without `Collection`.
    static func collectionLabel(of entity: EntityDefinition) -> String {
        let name = collectionName(of: entity)
        return (name.hasSuffix("Collection") ? String(name.dropLast("Collection".count)) : name).spaced
    }
}
