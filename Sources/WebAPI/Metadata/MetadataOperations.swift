import Model

/// The functions and actions of the Web API, as `$metadata` declares them.
enum MetadataOperations {
    /// The origin of an operation: Dataverse, or an addition of Fieldseal.
    enum Namespace {
        case dataverse, fieldseal
    }

    /// A name with its type. A `?` after the type means that the value may be null or missing.
    private typealias Field = (name: String, type: String)

    private struct Operation {
        let name: String
        var isAction = false
        /// The type that the operation is bound to; nil for an unbound operation.
        var binding: String?
        var parameters: [Field] = []
        /// The members of the response; empty for an action whose response has no content.
        var results: [Field] = []
        var namespace = Namespace.dataverse
    }

    // MARK: The operations

    private static let guid = "Edm.Guid"
    private static let text = "Edm.String"
    private static let texts = "Collection(Edm.String)"
    private static let flag = "Edm.Boolean"
    private static let number = "Edm.Int32"
    private static let record = "mscrm.crmbaseentity"
    private static let privileges: [Field] = [("RolePrivileges", "Collection(mscrm.RolePrivilege)")]
    private static let languages = "Collection(Edm.Int32)"

    private static let functions: [Operation] = [
        Operation(name: "WhoAmI", results: [("BusinessUnitId", guid), ("UserId", guid), ("OrganizationId", guid)]),
        Operation(name: "IsDataEncryptionActive", results: [("IsActive", flag)]),
        Operation(name: "RetrieveDataEncryptionKey", results: [("EncryptionKey", text)]),
        Operation(
            name: "RetrieveDataEncryptionKeyChange",
            results: [
                ("IsRunning", flag), ("Phase", "Edm.String?"), ("Cells", "Edm.Int64?"), ("EstimatedTotal", "Edm.Int64?"),
                ("Percent", "Edm.Int32?"), ("CellsPerSecond", "Edm.Decimal?"), ("SecondsLeft", "Edm.Decimal?"),
                ("StartedBy", "Edm.String?"),
            ]),
        Operation(name: "RetrieveVersion", results: [("Version", text)]),
        Operation(
            name: "RetrieveCurrentOrganization", parameters: [("AccessType", "mscrm.EndpointAccessType")],
            results: [("Detail", "mscrm.OrganizationDetail")]),
        Operation(
            name: "RetrieveTotalRecordCount", parameters: [("EntityNames", texts)],
            results: [("EntityRecordCountCollection", "mscrm.EntityRecordCountCollection")]),
        Operation(name: "RetrieveAvailableLanguages", results: [("LocaleIds", languages)]),
        Operation(name: "RetrieveProvisionedLanguages", results: [("RetrieveProvisionedLanguages", languages)]),
        Operation(name: "RetrieveDeprovisionedLanguages", results: [("RetrieveDeprovisionedLanguages", languages)]),
        Operation(name: "RetrieveInstalledLanguagePacks", results: [("RetrieveInstalledLanguagePacks", languages)]),
        Operation(
            name: "RetrieveSharedPrincipalsAndAccess", parameters: [("Target", record)],
            results: [("PrincipalAccesses", "Collection(mscrm.PrincipalAccess)")]),
        Operation(
            name: "RetrieveMetadataChanges",
            parameters: [("Query", "mscrm.EntityQueryExpression"), ("ClientVersionStamp", "Edm.String?")],
            results: [
                ("EntityMetadata", "Collection(mscrm.ComplexEntityMetadata)"), ("ServerVersionStamp", text),
                ("DeletedMetadata", "Edm.String?"),
            ]),
        Operation(name: "RetrieveUserPrivileges", binding: "mscrm.systemuser", results: privileges),
        Operation(
            name: "RetrieveUserPrivilegeByPrivilegeId", binding: "mscrm.systemuser", parameters: [("PrivilegeId", guid)],
            results: privileges),
        Operation(
            name: "RetrieveUserPrivilegeByPrivilegeName", binding: "mscrm.systemuser", parameters: [("PrivilegeName", text)],
            results: privileges),
        Operation(
            name: "RetrieveUserSetOfPrivilegesByNames", binding: "mscrm.systemuser", parameters: [("PrivilegeNames", texts)],
            results: privileges),
        Operation(
            name: "RetrievePrincipalAccess", binding: "mscrm.principal", parameters: [("Target", record)],
            results: [("AccessRights", text)]),
    ]

    private static let actions: [Operation] = [
        Operation(
            name: "SetDataEncryptionKey", isAction: true, parameters: [("EncryptionKey", text), ("ChangeEncryptionKey", flag)]),
        Operation(
            name: "GrantAccess", isAction: true, parameters: [("Target", record), ("PrincipalAccess", "mscrm.PrincipalAccess")]),
        Operation(
            name: "ModifyAccess", isAction: true, parameters: [("Target", record), ("PrincipalAccess", "mscrm.PrincipalAccess")]),
        Operation(name: "RevokeAccess", isAction: true, parameters: [("Target", record), ("Revokee", "mscrm.principal")]),
        Operation(
            name: "BulkDelete", isAction: true,
            parameters: [("QuerySet", "Collection(mscrm.QueryExpression)"), ("JobName", "Edm.String?")],
            results: [("JobId", guid)]),
        Operation(
            name: "AddMembersTeam", isAction: true, binding: "mscrm.team", parameters: [("Members", "Collection(mscrm.systemuser)")]
        ),
        Operation(
            name: "RemoveMembersTeam", isAction: true, binding: "mscrm.team",
            parameters: [("Members", "Collection(mscrm.systemuser)")]),
        Operation(
            name: "SendEmail", isAction: true, binding: "mscrm.email",
            parameters: [("IssueSend", flag), ("TrackingToken", "Edm.String?")],
            results: [("Subject", text)]),
        Operation(
            name: "CheckIncomingEmail", isAction: true, binding: "Collection(mscrm.email)", parameters: incomingEmail,
            results: [("ShouldDeliver", flag), ("ReasonCode", number)]),
        Operation(
            name: "DeliverIncomingEmail", isAction: true, binding: "Collection(mscrm.email)",
            parameters: incomingEmail + [("ValidateBeforeCreate", "Edm.Boolean?")],
            results: [("ShouldDeliver", flag), ("ReasonCode", number), ("EmailId", "Edm.Guid?")]),
    ]

    private static let incomingEmail: [Field] = [
        ("MessageId", "Edm.String?"), ("Subject", "Edm.String?"), ("From", text), ("To", "Edm.String?"), ("Cc", "Edm.String?"),
        ("Bcc", "Edm.String?"), ("ReceivedOn", "Edm.DateTimeOffset?"), ("Importance", "Edm.String?"), ("Body", "Edm.String?"),
        ("BodyType", "Edm.String?"), ("InReplyTo", "Edm.String?"), ("References", "Edm.String?"),
        ("Attachments", "Collection(mscrm.IncomingAttachment)?"), ("MailboxId", "Edm.Guid?"), ("HostId", "Edm.String?"),
        ("Digest", "Edm.String?"), ("SubmittedBy", "Edm.String?"), ("ReplyTo", "Edm.String?"),
    ]

    /// The operations of a router. Elements of lists have the open type `fieldseal.Item`, which declares no members.
    private static let routerActions: [Operation] = [
        Operation(
            name: "WaitForWork", isAction: true,
            parameters: [
                ("HostId", text), ("Seconds", number), ("WantsWork", flag), ("Watching", "Collection(fieldseal.Item)"),
                ("IsLeaving", flag),
            ],
            results: [("Due", number), ("Ended", texts)], namespace: .fieldseal),
        Operation(
            name: "LeaseMailbox", isAction: true, parameters: [("HostId", text)],
            results: [("MailboxId", guid), ("Name", text), ("Address", text)], namespace: .fieldseal),
        Operation(
            name: "ReportMailbox", isAction: true,
            parameters: [
                ("HostId", text), ("MailboxId", guid), ("RouterState", "Edm.String?"), ("Processed", "Edm.Int32?"),
                ("Failed", "Edm.Int32?"),
                ("Interval", "Edm.Int32?"), ("IncomingIsWell", "Edm.Boolean?"), ("OutgoingIsWell", "Edm.Boolean?"),
                ("Error", "fieldseal.Item?"), ("Alerts", "Collection(fieldseal.Item)?"),
            ], namespace: .fieldseal),
        Operation(
            name: "ReleaseCredential", isAction: true, parameters: [("HostId", text), ("MailboxId", guid), ("Direction", text)],
            results: [
                ("UserName", "Edm.String?"), ("Password", "Edm.String?"), ("Server", text), ("Port", number), ("UseSSL", flag),
                ("AuthenticationProtocol", number), ("ServerType", number),
            ], namespace: .fieldseal),
        Operation(
            name: "TakePendingEmails", isAction: true, parameters: [("HostId", text), ("MailboxId", guid), ("Limit", number)],
            results: [("value", "Collection(fieldseal.Item)")], namespace: .fieldseal),
        Operation(
            name: "ReportEmails", isAction: true,
            parameters: [("HostId", text), ("MailboxId", guid), ("Reports", "Collection(fieldseal.Item)")], namespace: .fieldseal),
        Operation(
            name: "KnownMessages", isAction: true,
            parameters: [("HostId", text), ("MailboxId", guid), ("Ids", "Collection(Edm.String)?")],
            results: [("value", texts), ("Total", "Edm.Int64")], namespace: .fieldseal),
        Operation(
            name: "NoteMessages", isAction: true,
            parameters: [
                ("HostId", text), ("MailboxId", guid), ("Seen", "Collection(Edm.String)?"), ("Settled", "Collection(Edm.String)?"),
                ("SetAside", "Collection(fieldseal.Item)?"), ("ForgetsSeen", "Edm.Boolean?"),
            ], namespace: .fieldseal),
        Operation(
            name: "DeliverIncomingEmails", isAction: true,
            parameters: [("HostId", text), ("MailboxId", guid), ("Emails", "Collection(fieldseal.Item)")],
            results: [("value", "Collection(fieldseal.Item)")], namespace: .fieldseal),
    ]

    /// The operations for key control and approvals.
    private static let keyControlOperations: [Operation] = [
        Operation(
            name: "RetrieveKeyControl", results: [("ApprovalSeconds", "Edm.Int32?"), ("SignInSeconds", "Edm.Int32?")],
            namespace: .fieldseal),
        Operation(name: "RetrieveApprovals", results: [("value", "Collection(fieldseal.Item)")], namespace: .fieldseal),
        Operation(
            name: "SetKeyControl", isAction: true,
            parameters: [("ApprovalSeconds", "Edm.Int32?"), ("SignInSeconds", "Edm.Int32?")],
            namespace: .fieldseal),
        Operation(name: "ApproveRequest", isAction: true, parameters: [("ApprovalId", guid)], namespace: .fieldseal),
        Operation(name: "RefuseRequest", isAction: true, parameters: [("ApprovalId", guid)], namespace: .fieldseal),
    ]

    private static let complexTypes: KeyValuePairs<String, [Field]> = [
        "OrganizationDetail": [
            ("OrganizationId", guid), ("FriendlyName", text), ("OrganizationVersion", text), ("EnvironmentId", text),
            ("DatacenterId", "Edm.String?"), ("Geo", "Edm.String?"), ("TenantId", text), ("UrlName", text), ("UniqueName", text),
            ("State", text), ("SchemaType", text), ("OrganizationType", text), ("Endpoints", "mscrm.EndpointCollection"),
        ],
        "EndpointCollection": [("Count", number), ("IsReadOnly", flag), ("Keys", texts), ("Values", texts)],
        "EntityRecordCountCollection": [
            ("Count", number), ("IsReadOnly", flag), ("Keys", texts), ("Values", "Collection(Edm.Int64)"),
        ],
        "RolePrivilege": [
            ("Depth", text), ("PrivilegeId", guid), ("BusinessUnitId", guid), ("PrivilegeName", text), ("RecordFilterId", guid),
            ("RecordFilterUniqueName", "Edm.String?"),
        ],
        "IncomingAttachment": [
            ("FileName", text), ("MimeType", text), ("Body", text), ("Subject", "Edm.String?"),
            ("AttachmentContentInfo", "Edm.String?"),
        ],
        "CreateMultipleResponse": [("Ids", "Collection(Edm.Guid)")],
    ]

    /// Open types. Some members of these types are not declared, because the members have several forms, or are the attributes of a
    /// record.
    private static let openTypes: KeyValuePairs<String, [Field]> = [
        "PrincipalAccess": [("AccessMask", text)], "QueryExpression": [("EntityName", text)], "EntityQueryExpression": [],
        "ComplexEntityMetadata": [("LogicalName", text)],
    ]

    // MARK: Writing the declarations

    /// Whether an operation is an action, by its name in addresses; nil for an unknown operation.
    static func isAction(_ name: String) -> Bool? {
        let local = name.hasPrefix("fieldseal.") ? String(name.dropFirst("fieldseal.".count)) : name
        let namespace: Namespace = name.hasPrefix("fieldseal.") ? .fieldseal : .dataverse
        return operations(in: namespace).first { $0.name == local }?.isAction
    }

    private static func operations(in namespace: Namespace) -> [Operation] {
        (functions + actions + routerActions + keyControlOperations).filter { $0.namespace == namespace }
    }

    /// The types of the operations' parameters and results.
    static func types(in namespace: Namespace) -> String {
        let answers = operations(in: namespace).filter { !$0.results.isEmpty }
            .map { complexType("\($0.name)Response", $0.results, isOpen: $0.name == "LeaseMailbox") }
        guard namespace == .dataverse else { return complexType("Item", [], isOpen: true) + answers.joined() }
        var xml =
            "<EnumType Name=\"EndpointAccessType\"><Member Name=\"Default\" Value=\"0\"/><Member Name=\"Internet\" Value=\"1\"/>"
        xml += "<Member Name=\"Intranet\" Value=\"2\"/></EnumType>\n"
        for (name, fields) in complexTypes { xml += complexType(name, fields) }
        for (name, fields) in openTypes { xml += complexType(name, fields, isOpen: true) }
        return xml + answers.joined()
    }

    private static func complexType(_ name: String, _ fields: [Field], isOpen: Bool = false) -> String {
        let properties = fields.map { "<Property Name=\"\($0.name)\" \(typed($0.type))/>" }.joined()
        let start = "<ComplexType Name=\"\(name)\"\(isOpen ? " OpenType=\"true\"" : "")"
        return properties.isEmpty ? "\(start)/>\n" : "\(start)>\(properties)</ComplexType>\n"
    }

    /// The XML attributes `Type` and `Nullable` of a field's declaration.
    private static func typed(_ type: String) -> String {
        let isOptional = type.hasSuffix("?")
        let name = isOptional ? String(type.dropLast()) : type
        let scale = name == "Edm.Decimal" ? " Scale=\"variable\"" : ""
        return "Type=\"\(name)\"\(isOptional ? "" : " Nullable=\"false\"")\(scale)"
    }

    /// Every function and action. Operations for many records occur once for each entity.
    static func declarations(in namespace: Namespace) -> String {
        var xml = operations(in: namespace).map { declaration($0) }.joined()
        guard namespace == .dataverse else { return xml }
        for entity in EntityCatalog.all {
            let collection = "Collection(mscrm.\(entity.logicalName))"
            for (message, isThere) in [
                ("CreateMultiple", entity.messages.contains(.create)), ("UpdateMultiple", entity.messages.contains(.update)),
                ("UpsertMultiple", entity.messages.isSuperset(of: [.create, .update])),
            ] where isThere {
                let operation = Operation(name: message, isAction: true, binding: collection, parameters: [("Targets", collection)])
                xml += declaration(operation, returns: message == "CreateMultiple" ? "mscrm.CreateMultipleResponse" : nil)
            }
        }
        return xml
    }

    private static func declaration(_ operation: Operation, returns: String? = nil) -> String {
        let kind = operation.isAction ? "Action" : "Function"
        let prefix = operation.namespace == .dataverse ? "mscrm" : "fieldseal"
        var xml = "<\(kind) Name=\"\(operation.name)\"\(operation.binding == nil ? "" : " IsBound=\"true\"")>"
        if let binding = operation.binding {
            xml +=
                "<Parameter Name=\"\(binding.hasPrefix("Collection") ? "entityset" : "entity")\" Type=\"\(binding)\" Nullable=\"false\"/>"
        }
        for parameter in operation.parameters { xml += "<Parameter Name=\"\(parameter.name)\" \(typed(parameter.type))/>" }
        if let type = returns ?? (operation.results.isEmpty ? nil : "\(prefix).\(operation.name)Response") {
            // LeaseMailbox returns null if no mailbox is due.
            xml += "<ReturnType Type=\"\(type)\" Nullable=\"\(operation.name == "LeaseMailbox")\"/>"
        }
        return xml + "</\(kind)>\n"
    }

    /// Declares the operations that are called by their unqualified names. The additions of Fieldseal need their namespace.
    static var imports: String {
        operations(in: .dataverse).filter { $0.binding == nil }.map { operation in
            let kind = operation.isAction ? "Action" : "Function"
            return "<\(kind)Import Name=\"\(operation.name)\" \(kind)=\"mscrm.\(operation.name)\"/>\n"
        }.joined()
    }
}
