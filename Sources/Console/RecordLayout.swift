import Model

/// Which attributes of a record a form has in which section. The others are under *All attributes*.
struct RecordLayout {
    /// A part of a form.
    struct Section {
        /// The key of its heading.
        let title: String
        /// The attributes' names.
        let fields: [String]
    }

    let sections: [Section]
    /// Columns of the entity's list, the one that links to the record first.
    let columns: [String]
    /// The attribute by whose options the list is filtered.
    let filter: String?

    var fields: [String] { sections.flatMap(\.fields) }

    static func of(_ entity: EntityDefinition) -> RecordLayout {
        switch entity.logicalName {
        case "mailbox": mailbox
        case "emailserverprofile": profile
        case "queue": queue
        case "usersettings": userSettings
        case "email": email
        default: alert
        }
    }

    private static let mailbox = RecordLayout(
        sections: [
            .init(title: "section:address", fields: ["name", "emailaddress", "ownerid"]),
            .init(
                title: "section:signIn",
                fields: ["emailserverprofile", "allowemailconnectortousecredentials", "username", "password"]),
            .init(
                title: "section:delivery",
                fields: [
                    "incomingemaildeliverymethod", "outgoingemaildeliverymethod", "processemailreceivedafter",
                    "undeliverablefolder",
                    "processanddeleteemails",
                ]),
        ],
        columns: ["name", "emailaddress", "state", "emailserverprofile", "lastsuccessfulsynccompletedon"], filter: nil)

    private static let profile = RecordLayout(
        sections: [
            .init(title: "section:general", fields: ["name", "servertype", "ownerid", "description"]),
            .init(
                title: "section:incoming",
                fields: [
                    "incomingserverlocation", "incomingportnumber", "incomingusessl", "incomingauthenticationprotocol",
                    "incomingcredentialretrieval", "incomingusername", "incomingpassword",
                ]),
            .init(
                title: "section:outgoing",
                fields: [
                    "outgoingserverlocation", "outgoingportnumber", "outgoingusessl", "outgoingauthenticationprotocol",
                    "usesamesettingsforoutgoingconnections", "outgoingcredentialretrieval", "outgoingusername", "outgoingpassword",
                ]),
            .init(
                title: "section:limits",
                fields: [
                    "maxconcurrentconnections", "minpollingintervalinminutes", "timeoutmailboxconnectionafteramount",
                    "processemailsreceivedafter", "moveundeliveredemails",
                ]),
        ],
        columns: ["name", "servertype", "incomingserverlocation", "outgoingserverlocation", "modifiedon"], filter: "servertype")

    private static let queue = RecordLayout(
        sections: [
            .init(title: "section:general", fields: ["name", "emailaddress", "ownerid", "description"]),
            .init(
                title: "section:delivery",
                fields: [
                    "incomingemaildeliverymethod", "outgoingemaildeliverymethod", "incomingemailfilteringmethod", "queueviewtype",
                ]),
            .init(title: "section:signIn", fields: ["allowemailcredentials", "emailusername", "emailpassword"]),
        ],
        columns: ["name", "emailaddress", "queueviewtype", "modifiedon"], filter: "queueviewtype")

    private static let userSettings = RecordLayout(
        sections: [
            .init(title: "section:signIn", fields: ["allowemailcredentials", "emailusername", "emailpassword"]),
            .init(title: "section:delivery", fields: ["incomingemailfilteringmethod", "issendasallowed"]),
        ],
        columns: ["systemuserid", "emailusername", "modifiedon"], filter: nil)

    private static let email = RecordLayout(
        sections: [], columns: ["subject", "sender", "torecipients", "statuscode", "createdon"], filter: "statuscode")

    private static let alert = RecordLayout(
        sections: [], columns: ["text", "level", "regardingobjectid", "modifiedon"], filter: "level")
}
