// What the audit of records tells of, as the migrations set it (`audit_setting`, `audit_change`).
extension EntityDefinition {
    /// Whether changes of its records are audited.
    package var isAudited: Bool { !encryptedAttributes.isEmpty || ["systemuser", "team"].contains(logicalName) }

    /// Whether the audit has the values of one of its attributes. Of an encrypted one it tells only that it was set or cleared.
    package func audits(_ attribute: AttributeDefinition) -> Bool {
        isAudited && !attribute.isEncrypted && attribute.logicalName != primaryID
            && !Self.changedByEveryWrite.contains(attribute.logicalName)
            && !(logicalName == EntityDefinition.mailbox.logicalName && Self.changedByEveryTurn.contains(attribute.logicalName))
    }

    private static let changedByEveryWrite: Set<String> = [
        "versionnumber", "modifiedon", "modifiedby", "modifiedbyname", "organizationid", "organizationidname",
    ]
    /// What a router writes to a mailbox in each of its turns.
    private static let changedByEveryTurn: Set<String> = [
        "hostid", "processingstatecode", "processinglastattemptedon", "postponemailboxprocessinguntil", "itemsprocessedforlastsync",
        "itemsfailedforlastsync", "lastsyncstartedon", "lastsuccessfulsynccompletedon", "lastactiveon", "noemailcount",
        "processedtimes", "lastduration", "averagetotalduration", "transientfailurecount",
    ]
}
