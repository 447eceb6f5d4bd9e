import Model

/// The attributes in each section of a record's form. Other attributes are under *All attributes*.
struct RecordLayout {
    /// A part of a form.
    struct Section {
        /// The key of the heading's text.
        let title: String
        /// The attributes' names.
        let fields: [String]
    }

    let sections: [Section]
    /// Columns of the entity's list. The first column links to the record.
    let columns: [String]
    /// The attribute with options by which the list is filtered.
    let filter: String?
    /// Further attributes that the search includes.
    var searched: [String] = []
    /// Further attributes by which the list can be filtered.
    let filters: [String]
    /// Predefined views of the list.
    let views: [ListView]

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
        columns: ["name", "emailaddress", "state", "emailserverprofile", "lastsuccessfulsynccompletedon"], filter: nil,
        searched: ["username"],
        filters: [
            "emailserverprofile", "lastsuccessfulsynccompletedon", "incomingemailstatus", "outgoingemailstatus",
            "incomingemaildeliverymethod", "ispasswordset",
        ],
        views: [
            .init(key: "mailbox.failing", query: "status=failing"), .init(key: "mailbox.unapproved", query: "status=unapproved"),
            .init(key: "mailbox.stale", query: "f.lastsuccessfulsynccompletedon=older-24h"),
            .init(key: "mailbox.neverWorked", query: "f.lastsuccessfulsynccompletedon=-"),
            .init(key: "mailbox.noProfile", query: "f.emailserverprofile=-"),
            .init(key: "mailbox.noPassword", query: "f.ispasswordset=false"),
        ])

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
        columns: ["name", "servertype", "incomingserverlocation", "outgoingserverlocation", "modifiedon"], filter: "servertype",
        searched: ["description"],
        filters: ["incomingserverlocation", "outgoingserverlocation", "isincomingpasswordset", "modifiedon"],
        views: [
            .init(key: "withPassword", query: "f.isincomingpasswordset=true"),
            .init(key: "changedLately", query: "f.modifiedon=within-7d"),
        ])

    private static let queue = RecordLayout(
        sections: [
            .init(title: "section:general", fields: ["name", "emailaddress", "ownerid", "description"]),
            // The queue's own methods of delivery are left out. These methods have no effect: only the methods of its mailbox have
            // one.
            .init(title: "section:delivery", fields: ["incomingemailfilteringmethod"]),
            .init(title: "section:signIn", fields: ["allowemailcredentials", "emailusername", "emailpassword"]),
        ],
        // `queueviewtype` is not shown, because it has no effect. The rights of a caller's role decide which queues it reads.
        columns: ["name", "emailaddress", "ownerid", "modifiedon"], filter: nil, searched: ["emailusername"],
        filters: ["emailaddress", "allowemailcredentials", "modifiedon"],
        views: [
            .init(key: "queue.noAddress", query: "f.emailaddress=-"),
            .init(key: "ownSignIn", query: "f.allowemailcredentials=true"),
            .init(key: "changedLately", query: "f.modifiedon=within-7d"),
        ])

    private static let userSettings = RecordLayout(
        sections: [
            .init(title: "section:signIn", fields: ["allowemailcredentials", "emailusername", "emailpassword"]),
            .init(title: "section:delivery", fields: ["incomingemailfilteringmethod", "issendasallowed"]),
        ],
        columns: ["systemuserid", "emailusername", "modifiedon"], filter: nil,
        filters: ["emailusername", "allowemailcredentials", "modifiedon"],
        views: [
            .init(key: "ownSignIn", query: "f.allowemailcredentials=true"),
            .init(key: "changedLately", query: "f.modifiedon=within-7d"),
        ])

    private static let email = RecordLayout(
        sections: [], columns: ["subject", "sender", "torecipients", "statuscode", "createdon"], filter: "statuscode",
        searched: ["emailsendername"],
        filters: ["directioncode", "sender", "torecipients", "createdon", "prioritycode"],
        views: [
            .init(key: "email.unanswered", query: "answer=none"),
            .init(key: "email.failed", query: "status=8"), .init(key: "email.waiting", query: "status=6"),
            .init(key: "email.drafts", query: "status=1"),
            .init(key: "email.received", query: "f.directioncode=false&f.createdon=within-24h"),
            .init(key: "email.sent", query: "status=3&f.createdon=within-24h"),
        ])

    private static let alert = RecordLayout(
        sections: [], columns: ["text", "level", "regardingobjectid", "modifiedon"], filter: "level",
        searched: ["errordetails"], filters: ["createdon", "modifiedon"],
        views: [
            .init(key: "alert.errors", query: "status=3&f.modifiedon=within-7d"),
            .init(key: "alert.warnings", query: "status=2&f.modifiedon=within-7d"),
        ])
}
