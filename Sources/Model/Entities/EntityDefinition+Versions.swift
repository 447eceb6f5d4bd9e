extension EntityDefinition {
    /// Attributes that change while the record keeps its version: what a router does with a mailbox, and the number of an e-mail's files.
    package var unversioned: Set<String> {
        switch logicalName {
        case Self.mailbox.logicalName: Self.reported
        case Self.email.logicalName: ["attachmentcount"]
        default: []
        }
    }

    /// What a lease and a report of a turn write. A report that enables or disables a mailbox gives it a new version.
    private static let reported: Set<String> = [
        "forcedunlockcount", "hostid", "incomingemailstatus", "itemsfailedforlastsync", "itemsprocessedforlastsync",
        "lastduration", "lastmailboxforcedunlockoccurredon", "lastsuccessfulsynccompletedon", "lastsyncerror",
        "lastsyncerrorcode", "lastsyncerrorcount", "lastsyncerrormachinename", "lastsyncerroroccurredon",
        "lastsyncstartedon", "mailboxstatus", "noemailcount", "outgoingemailstatus", "postponemailboxprocessinguntil",
        "processedtimes", "processinglastattemptedon", "processingstatecode", "testemailconfigurationscheduled",
        "testmailboxaccesscompletedon", "transientfailurecount",
    ]
}
