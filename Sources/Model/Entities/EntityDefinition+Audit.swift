// Which entities and attributes the audit records. The table `audit_setting` and the function `audit_change` have the same rules.
extension EntityDefinition {
    /// Whether changes of the entity's records are audited.
    package var isAudited: Bool { !encryptedAttributes.isEmpty || ["systemuser", "team"].contains(logicalName) }

    /// Whether the audit has the values of an attribute. Of an encrypted attribute it records only that it was set or cleared.
    package func audits(_ attribute: AttributeDefinition) -> Bool {
        isAudited && !attribute.isEncrypted && attribute.logicalName != primaryID
            && !Self.changedByEveryWrite.contains(attribute.logicalName)
            && !(logicalName == EntityDefinition.mailbox.logicalName && Self.changedByEveryTurn.contains(attribute.logicalName))
    }

    private static let changedByEveryWrite: Set<String> = [
        "versionnumber", "modifiedon", "modifiedby", "modifiedbyname", "organizationid", "organizationidname",
    ]
    /// The attributes that a router writes to a mailbox in each turn.
    private static let changedByEveryTurn: Set<String> = [
        "hostid", "processingstatecode", "processinglastattemptedon", "postponemailboxprocessinguntil", "itemsprocessedforlastsync",
        "itemsfailedforlastsync", "lastsyncstartedon", "lastsuccessfulsynccompletedon", "lastactiveon", "noemailcount",
        "processedtimes", "lastduration", "averagetotalduration", "transientfailurecount",
    ]
}
