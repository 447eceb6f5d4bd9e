/// The members of the metadata contracts in the order in which they are written. Microsoft's classes drop a member that is out of
/// order.
enum MetadataShapes {
    /// Members of `EntityMetadata`.
    static let entity = names(
        """
        MetadataId HasChanged ActivityTypeMask Attributes AutoCreateAccessTeams AutoRouteToOwnerQueue
        CanBeInCustomEntityAssociation CanBeInManyToMany CanBePrimaryEntityInRelationship
        CanBeRelatedEntityInRelationship CanChangeTrackingBeEnabled CanCreateAttributes CanCreateCharts CanCreateForms
        CanCreateViews CanEnableSyncToExternalSearchIndex CanModifyAdditionalSettings CanTriggerWorkflow
        ChangeTrackingEnabled CreatedOn DataProviderId DataSourceId Description DisplayCollectionName DisplayName
        EnforceStateTransitions ExternalName HasActivities HasEmailAddresses HasFeedback HasNotes IconLargeName
        IconMediumName IconSmallName IconVectorName IsAIRUpdated IsActivity IsActivityParty IsAuditEnabled
        IsAvailableOffline IsBusinessProcessEnabled IsChildEntity IsConnectionsEnabled IsCustomEntity IsCustomizable
        IsDocumentManagementEnabled IsDocumentRecommendationsEnabled IsDuplicateDetectionEnabled IsEnabledForCharts
        IsEnabledForTrace IsImportable IsInteractionCentricEnabled IsIntersect IsKnowledgeManagementEnabled
        IsMSTeamsIntegrationEnabled IsMailMergeEnabled IsManaged IsMappable IsOneNoteIntegrationEnabled
        IsQuickCreateEnabled IsReadOnlyInMobileClient IsReadingPaneEnabled IsRenameable IsSolutionAware
        IsStateModelAware IsValidForAdvancedFind IsValidForQueue IsVisibleInMobile IsVisibleInMobileClient LogicalName
        ManyToManyRelationships ManyToOneRelationships ModifiedOn ObjectTypeCode OneToManyRelationships OwnershipType
        PrimaryIdAttribute PrimaryNameAttribute Privileges RecurrenceBaseEntityLogicalName ReportViewName SchemaName
        SettingOf Settings SyncToExternalSearchIndex UsesBusinessDataLabelTable IntroducedVersion PrimaryImageAttribute
        CanChangeHierarchicalRelationship EntityHelpUrl EntityHelpUrlEnabled CollectionSchemaName EntityColor
        ExternalCollectionName IsOptimisticConcurrencyEnabled Keys LogicalCollectionName DaysSinceRecordLastModified
        EntitySetName IsEnabledForExternalChannels IsOfflineInMobileClient IsPrivate IsSLAEnabled MobileOfflineFilters
        IsBPFEntity IsLogicalEntity
        """)

    /// Members that all kinds of `AttributeMetadata` have.
    static let attribute = names(
        """
        MetadataId HasChanged AttributeOf AttributeType CanBeSecuredForCreate CanBeSecuredForRead CanBeSecuredForUpdate
        CanModifyAdditionalSettings ColumnNumber CreatedOn DeprecatedVersion Description DisplayName EntityLogicalName
        ExternalName InheritsFrom IsAuditEnabled IsCustomAttribute IsCustomizable IsDataSourceSecret IsFilterable
        IsGlobalFilterEnabled IsManaged IsPrimaryId IsPrimaryName IsRenameable IsRequiredForForm IsRetrievable
        IsSearchable IsSecured IsSortableEnabled IsValidForAdvancedFind IsValidForCreate IsValidForForm IsValidForGrid
        IsValidForRead IsValidForUpdate LinkedAttributeId LogicalName ModifiedOn RequiredLevel SchemaName Settings
        AttributeTypeName IntroducedVersion IsLogical SourceType AutoNumberFormat
        """)

    /// Members of one kind of `AttributeMetadata`, after the members that all kinds have.
    static func tail(_ kind: String) -> [String] { tails[kind] ?? [] }

    private static let tails: [String: [String]] = [
        "BigInt": names("MaxValue MinValue"),
        "Boolean": names("DefaultValue OptionSet FormulaDefinition SourceTypeMask"),
        "DateTime": names("Format ImeMode FormulaDefinition SourceTypeMask CanChangeDateTimeBehavior DateTimeBehavior"),
        "Decimal": names("ImeMode MaxValue MinValue Precision FormulaDefinition SourceTypeMask"),
        "EntityName": names("DefaultFormValue OptionSet ParentEnumAttributeLogicalName IsEntityReferenceStored"),
        "Image": names("CanStoreFullImage IsPrimaryImage MaxHeight MaxSizeInKB MaxWidth"),
        "Integer": names("Format MaxValue MinValue FormulaDefinition SourceTypeMask"),
        "Lookup": names("Format Targets"),
        "Memo": names("Format ImeMode MaxLength FormatName IsLocalizable"),
        "Picklist": names(
            """
            DefaultFormValue OptionSet ParentEnumAttributeLogicalName FormulaDefinition SourceTypeMask ChildPicklistLogicalNames
            ParentPicklistLogicalName
            """),
        "State": names("DefaultFormValue OptionSet ParentEnumAttributeLogicalName"),
        "Status": names("DefaultFormValue OptionSet ParentEnumAttributeLogicalName"),
        "String": names("Format ImeMode MaxLength YomiOf FormatName FormulaDefinition IsLocalizable SourceTypeMask DatabaseLength"),
    ]

    /// Members of an option set before its options.
    static let optionSet = names(
        """
        MetadataId HasChanged Description DisplayName ExternalTypeName IsCustomOptionSet IsCustomizable IsGlobal IsManaged Name
        OptionSetType IntroducedVersion
        """)

    /// Members of an option.
    static let option = names("MetadataId HasChanged Color Description ExternalValue IsManaged Label Value ParentValues")

    /// Members of a one-to-many relationship.
    static let oneToMany = names(
        """
        MetadataId HasChanged IsCustomRelationship IsCustomizable IsManaged IsValidForAdvancedFind SchemaName SecurityTypes
        IntroducedVersion RelationshipType AssociatedMenuConfiguration CascadeConfiguration DenormalizedAttributeName EntityKey
        IsDenormalizedLookup IsHierarchical IsRelationshipAttributeDenormalized ReferencedAttribute ReferencedEntity
        ReferencedEntityNavigationPropertyName ReferencingAttribute ReferencingEntity ReferencingEntityNavigationPropertyName
        RelationshipAttributes RelationshipBehavior
        """)

    /// Members of a many-to-many relationship.
    static let manyToMany = names(
        """
        MetadataId HasChanged IsCustomRelationship IsCustomizable IsManaged IsValidForAdvancedFind SchemaName SecurityTypes
        IntroducedVersion RelationshipType Entity1AssociatedMenuConfiguration Entity1IntersectAttribute Entity1LogicalName
        Entity1NavigationPropertyName Entity2AssociatedMenuConfiguration Entity2IntersectAttribute Entity2LogicalName
        Entity2NavigationPropertyName IntersectEntityName
        """)

    /// Members of an alternate key.
    static let key = names(
        """
        MetadataId HasChanged AsyncJob DisplayName EntityKeyIndexStatus EntityLogicalName IntroducedVersion IsCustomizable IsExportKey
        IsManaged IsSecondaryKey IsSynchronous KeyAttributes LogicalName SchemaName
        """)

    private static func names(_ text: String) -> [String] {
        text.split { $0 == " " || $0 == "\n" }.map(String.init)
    }
}
