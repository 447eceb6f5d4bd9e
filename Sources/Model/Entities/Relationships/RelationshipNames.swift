/// The names of a one-to-many relationship, as Microsoft documents them for Dataverse.
struct RelationshipNames {
    /// The unique name in its original case.
    let schema: String
    /// The single-valued navigation property at the "many" end.
    let single: String
    /// The collection-valued navigation property at the "one" end.
    let collection: String
    /// Other names of ``single`` and of ``collection`` that requests may use.
    let otherSingle: [String]
    let otherCollection: [String]

    init(_ referencing: EntityDefinition, _ attribute: AttributeDefinition, _ referenced: EntityDefinition) {
        let (entity, lookup, target) = (referencing.logicalName, attribute.logicalName, referenced.logicalName)
        let documented = Self.documented["\(entity) \(lookup) \(target)"] ?? Self.documented["\(entity) \(lookup)"]
        let regular = Self.regular(entity, lookup, referenced)
        let plain = attribute.type.isPolymorphic ? "\(lookup)_\(target)" : lookup
        let schema = documented?.schema ?? regular
        collection = schema
        single = documented?.single ?? plain
        var isOwner = false
        if case .owner = attribute.type { isOwner = true }
        // Dataverse has one relationship for owners. This service has two, one with users and one with teams, with the same
        // navigation property.
        self.schema = isOwner ? "owner_\(entity)_\(target)" : schema
        otherSingle = [plain] + (documented?.others ?? [])
        let isPart = lookup == "activityid" || lookup == "objectid"
        otherCollection = isPart ? [] : [isOwner ? self.schema : regular]
    }

    /// The schema name by Dataverse's usual pattern, for a lookup whose name ``rows`` does not list.
    private static func regular(_ entity: String, _ lookup: String, _ referenced: EntityDefinition) -> String {
        switch lookup {
        case "createdby", "createdonbehalfby", "modifiedby", "modifiedonbehalfby": "lk_\(entity)_\(lookup)"
        case "owninguser": "user_\(entity)"
        case "owningteam": "team_\(entity)"
        case "owningbusinessunit": "business_unit_\(entity)"
        case "ownerid": "owner_\(entity)"
        default:
            lookup == referenced.primaryID || lookup == referenced.logicalName
                ? "\(referenced.logicalName)_\(entity)" : "\(referenced.logicalName)_\(entity)_\(lookup)"
        }
    }

    /// The names in ``rows`` for a lookup, or for a lookup's references to one entity.
    private static let documented: [String: (schema: String, single: String, others: [String])] = {
        var found: [String: (schema: String, single: String, others: [String])] = [:]
        for row in rows.split(separator: "\n") {
            let words = row.split(separator: " ").map(String.init)
            let lookup = words[1].split(separator: ".").joined(separator: " ")
            found["\(words[0]) \(lookup)"] = (words[2], words.count > 3 ? words[3] : words[1], Array(words.dropFirst(4)))
        }
        return found
    }()

    /// The names that do not follow from the attribute: the entity, its lookup (with the entity that it refers to, if there are
    /// several), the schema name, the navigation property if it is not the lookup's name, and other names of the property.
    private static let rows = """
        activitymimeattachment objectid email_activity_mime_attachment objectid_email objectid_activitypointer
        activityparty activityid.email email_activity_parties activityid_email activityid_activitypointer
        activityparty partyid.queue queue_activity_parties partyid_queue
        activityparty partyid.systemuser system_user_activity_parties partyid_systemuser
        audit callinguserid lk_audit_callinguserid
        audit userid lk_audit_userid
        businessunit parentbusinessunitid business_unit_parent_business_unit
        email createdby lk_email_createdby createdby_email
        email createdonbehalfby lk_email_createdonbehalfby createdonbehalfby_email
        email emailsender.queue Queue_Email_EmailSender emailsender_queue
        email emailsender.systemuser SystemUser_Email_EmailSender emailsender_systemuser
        email modifiedby lk_email_modifiedby modifiedby_email
        email modifiedonbehalfby lk_email_modifiedonbehalfby modifiedonbehalfby_email
        email ownerid owner_emails ownerid_email
        email owningbusinessunit business_unit_email_activities owningbusinessunit_email
        email owningteam team_email owningteam_email
        email owninguser user_email owninguser_email
        email parentactivityid email_email_parentactivityid
        email receivingmailboxid mailbox_email_ReceivingMailboxId ReceivingMailboxId_Email
        email sendermailboxid email_sendermailboxid_mailbox sendermailboxid_email
        email transactioncurrencyid TransactionCurrency_Email transactioncurrencyid_email
        mailbox regardingobjectid.queue mailbox_regarding_queue regardingobjectid_queue
        mailbox regardingobjectid.systemuser mailbox_regarding_systemuser regardingobjectid
        queue businessunitid business_unit_queues
        queue createdby lk_queuebase_createdby
        queue defaultmailbox queue_defaultmailbox_mailbox
        queue modifiedby lk_queuebase_modifiedby
        queue organizationid organization_queues
        queue ownerid owner_queues
        queue owningbusinessunit business_unit_queues2
        queue primaryuserid queue_primary_user
        queue transactioncurrencyid TransactionCurrency_Queue
        role businessunitid business_unit_roles
        role parentrootroleid role_parent_root_role
        sdkmessagefilter sdkmessageid sdkmessageid_sdkmessagefilter
        systemuser businessunitid business_unit_system_users
        team administratorid lk_teambase_administratorid
        team businessunitid business_unit_teams
        tracelog parenttracelogid tracelog_parent_tracelog
        tracelog regardingobjectid.emailserverprofile tracelog_EmailServerProfile regardingobjectid_emailserverprofile
        tracelog regardingobjectid.mailbox tracelog_Mailbox regardingobjectid_mailbox
        usersettings createdby lk_usersettingsbase_createdby
        usersettings modifiedby lk_usersettingsbase_modifiedby
        """
}
