import JSON
import Model
import Tenancy

/// What `events verify` found in one organization.
struct EventVerification {
    /// How many events of the chain were verified.
    var verified: Int
    /// The result of verifying the audit.
    var audit: AuditReport
    /// How many events of archives were verified.
    var archived = 0
    /// How many entries of the audit in archives were verified.
    var auditEntries = 0
    /// How many events of an export were not compared, because they were archived.
    var notCompared = 0
    var problems: [String]
    /// How many problems are not listed.
    let omitted: Int

    init(verified: Int, audit: AuditReport = AuditReport(), problems: [String], omitted: Int = 0) {
        self.verified = verified
        self.audit = audit
        self.problems = problems
        self.omitted = omitted
    }

    func json(_ organization: String) -> JSONValue {
        [
            "organization": .string(organization), "verified": .integer(Int64(verified)), "archived": .integer(Int64(archived)),
            "auditEntries": .integer(Int64(auditEntries)), "sealedEntries": .integer(Int64(audit.entries)),
            "sealedBlocks": .integer(Int64(audit.blocks)), "unsealedEntries": .integer(Int64(audit.unsealed)),
            "notCompared": .integer(Int64(notCompared)),
            "problems": .array(problems.map { .string($0) }), "problemsNotListed": .integer(Int64(omitted)),
        ]
    }

    func text(_ organization: String) -> String {
        guard problems.isEmpty else {
            let more = omitted == 0 ? [] : ["and \(omitted) more"]
            return (problems + more).map { "\(organization): \($0.asTerminalLine)" }.joined(separator: "\n")
        }
        let archivedAudit = auditEntries == 0 ? "" : " and \(auditEntries) entries of the audit"
        let omission =
            notCompared == 0
            ? ""
            : " \(notCompared) events of the export were archived since, and were not compared: name their files with --archive."
        let waiting = audit.unsealed == 0 ? "" : "; \(audit.unsealed) entries are not sealed yet"
        let sealed =
            "In the audit, \(audit.entries) entries in \(audit.blocks) blocks are unchanged since they were sealed\(waiting)."
        return
            "\(organization): \(verified + archived) events\(archivedAudit) were verified. \(sealed) The chain of security events is whole.\(omission)"
    }
}
