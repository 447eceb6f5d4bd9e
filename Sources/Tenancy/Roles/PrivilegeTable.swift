package import Model

/// The privileges of each role. The three encryption messages belong only to System Administrator, and are not in the table.
package enum PrivilegeTable {
    private typealias Row = (
        read: PrivilegeDepth, create: PrivilegeDepth, update: PrivilegeDepth, delete: PrivilegeDepth, assign: PrivilegeDepth,
        share: PrivilegeDepth
    )

    /// The depth to which `role` may send `message` to records of `entity`.
    package static func depth(of message: EntityDefinition.Message, on entity: EntityDefinition, for role: Role) -> PrivilegeDepth {
        guard entity.has(message) else { return .none }
        let row = row(of: role, on: entity.logicalName)
        return switch message {
        case .retrieve, .retrieveMultiple: row.read
        case .create: row.create
        case .update: row.update
        case .delete: row.delete
        case .assign: row.assign
        case .share: row.share
        }
    }

    /// Whether `role` may set and clear the encrypted attributes of records that it may update.
    package static func maySetPasswords(_ role: Role) -> Bool { role != .emailRouter }

    /// Whether `role` may write an attribute of records that it may create or update.
    ///
    /// An attribute that the cases below do not name may be written by every role that may write the record.
    package static func mayWrite(_ attribute: String, of entity: EntityDefinition, _ role: Role) -> Bool {
        switch (role, entity.logicalName) {
        case (.systemAdministrator, _): true
        // This attribute backdates a record's creation, so no other role may write it.
        case (_, _) where attribute == "overriddencreatedon": false
        // Only administrators write a mailbox's approval, enabling, servers, schedules and states, and the results of mail.
        case (.basicUser, "mailbox"): mailboxAttributesOfUsers.contains(attribute)
        // Only the service, the router and System Administrators write these attributes of an e-mail.
        case (_, "email"): !emailAttributesOfAdministrators.contains(attribute)
        // Only the user and System Administrators decide whether others may send in the user's name.
        case (.emailAdministrator, "usersettings"): attribute != "issendasallowed"
        case (_, _): true
        }
    }

    private static let mailboxAttributesOfUsers: Set<String> = [
        "name", "username", "password", "allowemailconnectortousecredentials", "entityimage", "ownerid",
        "timezoneruleversionnumber", "utcconversiontimezonecode",
    ]
    private static let emailAttributesOfAdministrators: Set<String> = [
        "activityadditionalparams", "deliveryattempts", "emailsendername", "messageid", "sender", "sendersaccountname",
        "submittedby", "torecipients",
    ]

    private static func row(of role: Role, on entity: String) -> Row {
        switch (role, entity) {
        //                                            read           create         update         delete         assign         share
        case (.systemAdministrator, _): (.organization, .organization, .organization, .organization, .organization, .organization)
        case (.emailAdministrator, "emailserverprofile"), (.emailAdministrator, "mailbox"), (.emailAdministrator, "queue"):
            (.organization, .organization, .organization, .organization, .organization, .organization)
        case (.emailAdministrator, "usersettings"): (.organization, .none, .organization, .none, .none, .none)
        case (.basicUser, "mailbox"): (.own, .none, .own, .none, .none, .none)
        case (.basicUser, "usersettings"): (.own, .none, .own, .none, .none, .none)
        case (.basicUser, "emailserverprofile"), (.basicUser, "queue"): (.none, .none, .none, .none, .none, .none)
        case (.emailAdministrator, "tracelog"): (.organization, .none, .none, .organization, .none, .none)
        case (.basicUser, "email"): (.own, .own, .own, .own, .own, .own)
        case (.basicUser, "activityparty"): (.own, .none, .none, .none, .none, .none)
        case (.basicUser, "activitymimeattachment"): (.own, .own, .own, .own, .none, .none)
        // A router reads and writes e-mails only by its own messages, which return only the e-mails that it has to send.
        case (_, "email"), (_, "activityparty"), (_, "activitymimeattachment"), (_, "tracelog"):
            (.none, .none, .none, .none, .none, .none)
        // A router also writes mailboxes and profiles only by its own messages.
        case (.emailRouter, "mailbox"): (.organization, .none, .none, .none, .none, .none)
        case (.emailRouter, "emailserverprofile"): (.organization, .none, .none, .none, .none, .none)
        case (_, "audit"): (.none, .none, .none, .none, .none, .none)
        case (_, _): (.organization, .none, .none, .none, .none, .none)
        }
    }
}
