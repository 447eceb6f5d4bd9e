/// The data contracts as XML schemas, generated from short descriptions.
///
/// A line describes a type: its name, `<` and its base type, and its members as `NAME=TYPE`. A type without a prefix is a type of
/// XML Schema, or `guid`. `*` marks a member that may occur many times, and `!` a required one.
enum ContractSchemas {
    /// The prefixes of types in descriptions.
    private static let prefixes: [(prefix: String, namespace: String)] = [
        ("x", Contract.xrm), ("c", Contract.crm), ("m", Contract.many), ("o", Contract.organization), ("k", Contract.keys),
        ("d", Contract.metadata), ("d13", Contract.metadata2013), ("d71", Contract.metadata71), ("p", Contract.pairs),
        ("a", Contract.arrays), ("ser", Contract.serialization), ("v", Contract.discovery),
    ]

    /// A namespace with its types.
    private struct Schema {
        let namespace: String
        var types: [String] = []
        /// Enumerations and their values. Without values, any text is allowed.
        var enumerations: [String] = []
        /// Global elements as `NAME=TYPE`.
        var elements: [String] = []
    }

    /// The schemas of the Organization service, with its operations.
    static let organization =
        [operations, xrm, crm, many, keys, organizationDetails, metadata, metadata2013, metadata71]
        .map(markup).joined() + common

    /// The schemas of the Discovery service.
    static let discovery = markup(discoveryTypes) + common

    private static let common = [pairs, arrays, serialization].map(markup).joined()

    private static func lines(_ text: String) -> [String] { text.split(separator: "\n").map(String.init) }

    // MARK: Descriptions

    private static let operations = Schema(
        namespace: Contract.services,
        elements: [
            "Create: entity=x:Entity", "CreateResponse: CreateResult=guid",
            "Retrieve: entityName=string id=guid columnSet=x:ColumnSet", "RetrieveResponse: RetrieveResult=x:Entity",
            "Update: entity=x:Entity", "UpdateResponse:", "Delete: entityName=string id=guid", "DeleteResponse:",
            "Execute: request=x:OrganizationRequest", "ExecuteResponse: ExecuteResult=x:OrganizationResponse",
            "Associate: entityName=string entityId=guid relationship=x:Relationship relatedEntities=x:EntityReferenceCollection",
            "AssociateResponse:",
            "Disassociate: entityName=string entityId=guid relationship=x:Relationship relatedEntities=x:EntityReferenceCollection",
            "DisassociateResponse:", "RetrieveMultiple: query=x:QueryBase",
            "RetrieveMultipleResponse: RetrieveMultipleResult=x:EntityCollection",
        ])

    private static let xrm = Schema(
        namespace: Contract.xrm,
        types: lines(
            """
            Entity: Attributes=x:AttributeCollection EntityState=x:EntityState FormattedValues=x:FormattedValueCollection Id=guid KeyAttributes=k:KeyAttributeCollection LogicalName=string RelatedEntities=x:RelatedEntityCollection RowVersion=string
            AttributeCollection: KeyValuePairOfstringanyType=p:KeyValuePairOfstringanyType*
            ParameterCollection: KeyValuePairOfstringanyType=p:KeyValuePairOfstringanyType*
            ErrorDetailCollection: KeyValuePairOfstringanyType=p:KeyValuePairOfstringanyType*
            FormattedValueCollection: KeyValuePairOfstringstring=p:KeyValuePairOfstringstring*
            RelatedEntityCollection: KeyValuePairOfRelationshipEntityCollectionX_PsK4FkN=p:KeyValuePairOfRelationshipEntityCollectionX_PsK4FkN*
            EntityCollection: Entities=x:ArrayOfEntity EntityName=string MinActiveRowVersion=string MoreRecords=boolean PagingCookie=string TotalRecordCount=int TotalRecordCountLimitExceeded=boolean
            ArrayOfEntity: Entity=x:Entity*
            EntityReference: Id=guid KeyAttributes=k:KeyAttributeCollection LogicalName=string Name=string RowVersion=string
            EntityReferenceCollection: EntityReference=x:EntityReference*
            Relationship: PrimaryEntityRole=x:EntityRole SchemaName=string
            OptionSetValue: Value=int
            Money: Value=decimal
            AliasedValue: AttributeLogicalName=string EntityLogicalName=string NeedFormatting=boolean ReturnType=int Value=anyType
            ColumnSet: AllColumns=boolean AttributeExpressions=x:ArrayOfXrmAttributeExpression Columns=a:ArrayOfstring
            ArrayOfXrmAttributeExpression: XrmAttributeExpression=x:XrmAttributeExpression*
            XrmAttributeExpression: AggregateType=x:XrmAggregateType Alias=string AttributeName=string DateTimeGrouping=x:XrmDateTimeGrouping HasGroupBy=boolean
            QueryBase:
            QueryExpression < x:QueryBase: ColumnSet=x:ColumnSet Criteria=x:FilterExpression Distinct=boolean EntityName=string LinkEntities=x:ArrayOfLinkEntity Orders=x:ArrayOfOrderExpression PageInfo=x:PagingInfo NoLock=boolean TopCount=int
            FetchExpression < x:QueryBase: Query=string
            QueryByAttribute < x:QueryBase: Attributes=a:ArrayOfstring ColumnSet=x:ColumnSet EntityName=string Orders=x:ArrayOfOrderExpression PageInfo=x:PagingInfo Values=a:ArrayOfanyType TopCount=int
            FilterExpression: Conditions=x:ArrayOfConditionExpression FilterOperator=x:LogicalOperator Filters=x:ArrayOfFilterExpression
            ArrayOfFilterExpression: FilterExpression=x:FilterExpression*
            ArrayOfConditionExpression: ConditionExpression=x:ConditionExpression*
            ConditionExpression: AttributeName=string CompareColumns=boolean Operator=x:ConditionOperator Values=a:ArrayOfanyType EntityName=string
            ArrayOfLinkEntity: LinkEntity=x:LinkEntity*
            LinkEntity: Columns=x:ColumnSet EntityAlias=string JoinOperator=x:JoinOperator LinkCriteria=x:FilterExpression LinkEntities=x:ArrayOfLinkEntity LinkFromAttributeName=string LinkFromEntityName=string LinkToAttributeName=string LinkToEntityName=string Orders=x:ArrayOfOrderExpression
            ArrayOfOrderExpression: OrderExpression=x:OrderExpression*
            OrderExpression: Alias=string AttributeName=string EntityName=string OrderType=x:OrderType
            PagingInfo: Count=int PageNumber=int PagingCookie=string ReturnTotalRecordCount=boolean
            OrganizationRequest: Parameters=x:ParameterCollection RequestId=guid RequestName=string
            OrganizationResponse: ResponseName=string Results=x:ParameterCollection
            BaseServiceFault: ActivityId=guid ErrorCode=int ErrorDetails=x:ErrorDetailCollection HelpLink=string Message=string Timestamp=dateTime
            OrganizationServiceFault < x:BaseServiceFault: ExceptionRetriable=boolean ExceptionSource=string InnerFault=x:OrganizationServiceFault OriginalException=string TraceText=string
            Label: LocalizedLabels=x:LocalizedLabelCollection UserLocalizedLabel=x:LocalizedLabel
            LocalizedLabelCollection: LocalizedLabel=x:LocalizedLabel*
            LocalizedLabel < d:MetadataBase: IsManaged=boolean Label=string LanguageCode=int
            BooleanManagedProperty: CanBeChanged=boolean ManagedPropertyLogicalName=string Value=boolean
            AttributeRequiredLevelManagedProperty: CanBeChanged=boolean ManagedPropertyLogicalName=string Value=string
            EntityMetadataCollection: EntityMetadata=d:EntityMetadata*
            ArrayOfUpsertResponse: UpsertResponse=x:UpsertResponse*
            """)
            + requests(
                "Create", "Retrieve", "RetrieveMultiple", "Update", "Upsert", "Delete", "Associate", "Disassociate",
                "ExecuteMultiple", "ExecuteTransaction", "IsDataEncryptionActive", "RetrieveDataEncryptionKey",
                "SetDataEncryptionKey", "RetrieveEntity", "RetrieveAllEntities", "RetrieveAttribute", "RetrieveMetadataChanges"),
        enumerations: lines(
            """
            EntityState: Unchanged Created Changed
            EntityRole: Referencing Referenced
            LogicalOperator: And Or
            OrderType: Ascending Descending
            JoinOperator:
            ConditionOperator:
            XrmAggregateType:
            XrmDateTimeGrouping:
            """),
        elements: ["OrganizationServiceFault=x:OrganizationServiceFault"])

    private static let crm = Schema(
        namespace: Contract.crm,
        types: [
            "PrincipalAccess: AccessMask=c:AccessRights Principal=x:EntityReference",
            "ArrayOfPrincipalAccess: PrincipalAccess=c:PrincipalAccess*",
        ]
            + requests(
                "AddMembersTeam", "Assign", "GrantAccess", "ModifyAccess", "RemoveMembersTeam", "RetrieveCurrentOrganization",
                "RetrievePrincipalAccess", "RetrieveSharedPrincipalsAndAccess", "RetrieveVersion", "RevokeAccess", "SendEmail",
                "SetState", "WhoAmI"),
        enumerations: ["AccessRights:"])

    private static func requests(_ names: String...) -> [String] {
        names.flatMap { ["\($0)Request < x:OrganizationRequest:", "\($0)Response < x:OrganizationResponse:"] }
    }

    private static let many = Schema(
        namespace: Contract.many,
        types: lines(
            """
            OrganizationRequestCollection: OrganizationRequest=x:OrganizationRequest*
            ExecuteMultipleSettings: ContinueOnError=boolean ReturnResponses=boolean
            OrganizationResponseCollection: ExecuteMultipleResponseItem=m:ExecuteMultipleResponseItem*
            ExecuteMultipleResponseItem: Fault=x:OrganizationServiceFault RequestIndex=int Response=x:OrganizationResponse
            """))

    private static let keys = Schema(
        namespace: Contract.keys,
        types: lines(
            """
            KeyAttributeCollection: KeyValuePairOfstringanyType=p:KeyValuePairOfstringanyType*
            OrganizationResponseCollection: OrganizationResponse=x:OrganizationResponse*
            ExecuteTransactionFault < x:OrganizationServiceFault: FaultedRequestIndex=int
            """),
        enumerations: ["ConcurrencyBehavior: Default IfRowVersionMatches AlwaysOverwrite"])

    private static let organizationDetails = Schema(
        namespace: Contract.organization,
        types: lines(
            """
            OrganizationDetail: DatacenterId=guid Endpoints=o:EndpointCollection EnvironmentId=string FriendlyName=string Geo=string OrganizationId=guid OrganizationVersion=string State=string TenantId=string UniqueName=string UrlName=string
            EndpointCollection: KeyValuePairOfEndpointTypestringyDL0RVHi=p:KeyValuePairOfEndpointTypestring*
            """), enumerations: ["EndpointAccessType: Default Internet Intranet"])

    private static let discoveryTypes = Schema(
        namespace: Contract.discovery,
        types: lines(
            """
            DiscoveryRequest:
            DiscoveryResponse:
            RetrieveOrganizationsRequest < v:DiscoveryRequest: AccessType=string IsInternalCrossGeoServerRequest=boolean Release=string
            RetrieveOrganizationsResponse < v:DiscoveryResponse: Details=v:OrganizationDetailCollection
            RetrieveOrganizationRequest < v:DiscoveryRequest: AccessType=string Release=string UniqueName=string
            RetrieveOrganizationResponse < v:DiscoveryResponse: Detail=v:OrganizationDetail
            OrganizationDetailCollection: OrganizationDetail=v:OrganizationDetail*
            OrganizationDetail: DatacenterId=guid Endpoints=v:EndpointCollection EnvironmentId=string FriendlyName=string Geo=string OrganizationId=guid OrganizationVersion=string State=string TenantId=string UniqueName=string UrlName=string
            EndpointCollection: KeyValuePairOfEndpointTypestringztYlk6OT=p:KeyValuePairOfEndpointTypestring*
            """),
        elements: ["Execute: request=v:DiscoveryRequest", "ExecuteResponse: ExecuteResult=v:DiscoveryResponse"])

    private static let pairs = Schema(
        namespace: Contract.pairs,
        types: lines(
            """
            KeyValuePairOfstringanyType: key=string! value=anyType!
            KeyValuePairOfstringstring: key=string! value=string!
            KeyValuePairOfRelationshipEntityCollectionX_PsK4FkN: key=anyType! value=anyType!
            KeyValuePairOfEndpointTypestring: key=string! value=string!
            """))

    private static let arrays = Schema(
        namespace: Contract.arrays,
        types: ["string", "int", "long", "boolean", "guid", "anyType"].map { "ArrayOf\($0): \($0)=\($0)*" })

    private static let serialization = Schema(
        namespace: Contract.serialization, enumerations: ["guid:", "duration:", "char:"])

    // MARK: Metadata

    private static let metadata = Schema(
        namespace: Contract.metadata,
        types: lines(
            """
            MetadataBase: MetadataId=guid HasChanged=boolean
            ArrayOfEntityMetadata: EntityMetadata=d:EntityMetadata*
            ArrayOfAttributeMetadata: AttributeMetadata=d:AttributeMetadata*
            ArrayOfOneToManyRelationshipMetadata: OneToManyRelationshipMetadata=d:OneToManyRelationshipMetadata*
            ArrayOfManyToManyRelationshipMetadata: ManyToManyRelationshipMetadata=d:ManyToManyRelationshipMetadata*
            ArrayOfSecurityPrivilegeMetadata: SecurityPrivilegeMetadata=d:SecurityPrivilegeMetadata*
            ArrayOfEntityKeyMetadata: EntityKeyMetadata=d71:EntityKeyMetadata*
            SecurityPrivilegeMetadata: CanBeBasic=boolean CanBeDeep=boolean CanBeEntityReference=boolean CanBeGlobal=boolean CanBeLocal=boolean CanBeParentEntityReference=boolean Name=string PrivilegeId=guid PrivilegeType=string
            CascadeConfiguration: Assign=string Delete=string Merge=string Reparent=string Share=string Unshare=string RollupView=string
            OptionMetadataCollection: OptionMetadata=d:OptionMetadata*
            StateOptionMetadata < d:OptionMetadata: DefaultStatus=int InvariantName=string
            StatusOptionMetadata < d:OptionMetadata: State=int TransitionData=string
            """) + shapes, enumerations: ["EntityFilters:"])

    private static let metadata2013 = Schema(
        namespace: Contract.metadata2013,
        types: [
            "ConstantsBaseOfstring: Value=string",
            shape("ImageAttributeMetadata < d:AttributeMetadata", MetadataShapes.tail("Image")),
        ])

    private static let metadata71 = Schema(
        namespace: Contract.metadata71,
        types: [
            "UniqueIdentifierAttributeMetadata < d:AttributeMetadata:",
            shape("EntityKeyMetadata < d:MetadataBase", Array(MetadataShapes.key.dropFirst(2))),
        ])

    private static var shapes: [String] {
        var types = [
            shape("EntityMetadata < d:MetadataBase", Array(MetadataShapes.entity.dropFirst(2))),
            shape("AttributeMetadata < d:MetadataBase", Array(MetadataShapes.attribute.dropFirst(2))),
            shape("OneToManyRelationshipMetadata < d:MetadataBase", Array(MetadataShapes.oneToMany.dropFirst(2))),
            shape("ManyToManyRelationshipMetadata < d:MetadataBase", Array(MetadataShapes.manyToMany.dropFirst(2))),
            shape("OptionSetMetadataBase < d:MetadataBase", Array(MetadataShapes.optionSet.dropFirst(2))),
            "OptionSetMetadata < d:OptionSetMetadataBase: Options=d:OptionMetadataCollection ParentOptionSetName=string",
            "BooleanOptionSetMetadata < d:OptionSetMetadataBase: FalseOption=d:OptionMetadata TrueOption=d:OptionMetadata",
            shape("OptionMetadata < d:MetadataBase", Array(MetadataShapes.option.dropFirst(2))),
        ]
        for kind in [
            "BigInt", "Boolean", "DateTime", "Decimal", "EntityName", "Integer", "Lookup", "Memo", "Picklist", "State", "Status",
            "String",
        ] {
            types.append(
                shape("\(kind)AttributeMetadata < d:AttributeMetadata", MetadataShapes.tail(kind), isBoolean: kind == "Boolean"))
        }
        return types
    }

    /// Members that are managed properties: a boolean, and whether it can be changed.
    private static let managed: Set<String> = [
        "CanBeInCustomEntityAssociation", "CanBeInManyToMany", "CanBePrimaryEntityInRelationship",
        "CanBeRelatedEntityInRelationship", "CanChangeDateTimeBehavior", "CanChangeHierarchicalRelationship",
        "CanChangeTrackingBeEnabled", "CanCreateAttributes", "CanCreateCharts", "CanCreateForms", "CanCreateViews",
        "CanEnableSyncToExternalSearchIndex", "CanModifyAdditionalSettings", "IsAuditEnabled", "IsConnectionsEnabled",
        "IsCustomizable", "IsDuplicateDetectionEnabled", "IsGlobalFilterEnabled", "IsMailMergeEnabled", "IsMappable",
        "IsOfflineInMobileClient", "IsReadOnlyInMobileClient", "IsRenameable", "IsSortableEnabled", "IsValidForQueue",
        "IsVisibleInMobile", "IsVisibleInMobileClient",
    ]

    /// The description of a type whose members are known only by name.
    private static func shape(_ head: String, _ members: [String], isBoolean: Bool = false) -> String {
        let described = members.map { name -> String in
            switch name {
            case "DisplayName", "DisplayCollectionName", "Description", "Label": return "\(name)=x:Label"
            case _ where managed.contains(name): return "\(name)=x:BooleanManagedProperty"
            case "IsValidForAdvancedFind" where head.hasPrefix("AttributeMetadata"): return "\(name)=x:BooleanManagedProperty"
            case "RequiredLevel": return "\(name)=x:AttributeRequiredLevelManagedProperty"
            case "AttributeTypeName", "FormatName", "DateTimeBehavior": return "\(name)=d13:ConstantsBaseOfstring"
            case "OptionSet": return "\(name)=\(isBoolean ? "d:BooleanOptionSetMetadata" : "d:OptionSetMetadata")"
            case "Targets", "KeyAttributes": return "\(name)=a:ArrayOfstring"
            case "CascadeConfiguration": return "\(name)=d:CascadeConfiguration"
            case "Attributes", "Keys", "Privileges", "ManyToManyRelationships", "ManyToOneRelationships", "OneToManyRelationships":
                let types = [
                    "Attributes": "AttributeMetadata", "Keys": "EntityKeyMetadata", "Privileges": "SecurityPrivilegeMetadata",
                    "ManyToManyRelationships": "ManyToManyRelationshipMetadata",
                ]
                return "\(name)=d:ArrayOf\(types[name] ?? "OneToManyRelationshipMetadata")"
            default: return "\(name)=\(simpleType(name))"
            }
        }
        return "\(head): \(described.joined(separator: " "))"
    }

    private static func simpleType(_ name: String) -> String {
        if name.hasSuffix("Id"), name != "IsPrimaryId" { return "guid" }
        switch name {
        case "ObjectTypeCode", "MaxLength", "Precision", "Value", "DefaultFormValue", "SourceType", "SourceTypeMask",
            "ColumnNumber",
            "DatabaseLength", "MaxHeight", "MaxWidth", "MaxSizeInKB":
            return "int"
        case "MaxValue", "MinValue": return "decimal"
        case "DefaultValue": return "boolean"
        case "CreatedOn", "ModifiedOn": return "dateTime"
        default:
            let isFlag = ["Is", "Can", "Has", "Auto"].contains { name.hasPrefix($0) } && name != "AutoNumberFormat"
            return isFlag || ["ChangeTrackingEnabled", "EnforceStateTransitions"].contains(name) ? "boolean" : "string"
        }
    }

    // MARK: Markup

    private static func markup(_ schema: Schema) -> String {
        var text = "<xs:schema elementFormDefault=\"qualified\" targetNamespace=\"\(schema.namespace)\">"
        for (_, namespace) in prefixes where namespace != schema.namespace && imports(namespace, schema) {
            text += "<xs:import namespace=\"\(namespace)\"/>"
        }
        for line in schema.enumerations { text += enumeration(line) }
        for line in schema.types { text += complexType(line) }
        for line in schema.elements {
            if let colon = line.firstIndex(of: ":"), !line[..<colon].contains("=") {
                text += "<xs:element name=\"\(line[..<colon])\"><xs:complexType>\(sequence(line[line.index(after: colon)...]))"
                text += "</xs:complexType></xs:element>"
            } else {
                let pair = line.split(separator: "=")
                text += "<xs:element name=\"\(pair[0])\" nillable=\"true\" type=\"\(typeName(pair[1]))\"/>"
            }
        }
        return text + "</xs:schema>"
    }

    /// Whether a schema names types of a namespace.
    private static func imports(_ namespace: String, _ schema: Schema) -> Bool {
        guard let prefix = prefixes.first(where: { $0.namespace == namespace })?.prefix else { return false }
        return (schema.types + schema.elements).contains { line in
            line.contains("=\(prefix):") || line.contains("< \(prefix):") || prefix == "ser" && line.contains("=guid")
        }
    }

    private static func typeName(_ name: Substring) -> String {
        if name == "guid" { return "ser:guid" }
        return name.contains(":") ? String(name) : "xs:\(name)"
    }

    private static func enumeration(_ line: String) -> String {
        let parts = line.split(separator: ":", maxSplits: 1)
        let values = parts.count > 1 ? parts[1].split(separator: " ") : []
        let list = values.map { "<xs:enumeration value=\"\($0)\"/>" }.joined()
        return "<xs:simpleType name=\"\(parts[0])\"><xs:restriction base=\"xs:string\">\(list)</xs:restriction></xs:simpleType>"
    }

    private static func complexType(_ line: String) -> String {
        let space = line.firstRange(of: /:( |$)/)
        let head = line[..<(space?.lowerBound ?? line.endIndex)].split(separator: " ")
        let members = space.map { line[$0.upperBound...] } ?? ""
        let start = "<xs:complexType name=\"\(head[0])\">"
        guard head.count == 3 else { return "\(start)\(sequence(members))</xs:complexType>" }
        return "\(start)<xs:complexContent><xs:extension base=\"\(typeName(head[2]))\">\(sequence(members))</xs:extension>"
            + "</xs:complexContent></xs:complexType>"
    }

    private static func sequence(_ members: Substring) -> String {
        let elements = members.split(separator: " ").map { member -> String in
            let pair = member.split(separator: "=")
            let isMany = pair[1].hasSuffix("*")
            let isRequired = pair[1].hasSuffix("!")
            let type = typeName(isMany || isRequired ? pair[1].dropLast() : pair[1])
            let occurs = isMany ? "minOccurs=\"0\" maxOccurs=\"unbounded\" " : isRequired ? "" : "minOccurs=\"0\" "
            return "<xs:element \(occurs)name=\"\(pair[0])\" nillable=\"true\" type=\"\(type)\"/>"
        }
        return "<xs:sequence>\(elements.joined())</xs:sequence>"
    }

    /// The declarations of the prefixes that schemas use.
    static let declarations = prefixes.map { " xmlns:\($0.prefix)=\"\($0.namespace)\"" }.joined()
}
