extension EntityDefinition {
    /// Attributes that can change without a new version of the record: those that routers write to a mailbox, and the number of
    /// an e-mail's attachments.
    package var unversioned: Set<String> {
        switch logicalName {
        case Self.mailbox.logicalName: Self.reported
        case Self.email.logicalName: ["attachmentcount"]
        default: []
        }
    }

    /// The attributes that a router's lease and its report write.
    private static let reported: Set<String> = [
        "enabledforincomingemail", "enabledforoutgoingemail", "forcedunlockcount", "hostid", "incomingemailstatus",
        "itemsfailedforlastsync", "itemsprocessedforlastsync", "lastduration", "lastmailboxforcedunlockoccurredon",
        "lastsuccessfulsynccompletedon", "lastsyncerror", "lastsyncerrorcode", "lastsyncerrorcount",
        "lastsyncerrormachinename", "lastsyncerroroccurredon", "lastsyncstartedon", "mailboxstatus", "noemailcount",
        "outgoingemailstatus", "postponemailboxprocessinguntil", "processedtimes", "processinglastattemptedon",
        "processingstatecode", "testemailconfigurationscheduled", "testmailboxaccesscompletedon",
        "transientfailurecount",
    ]
}
