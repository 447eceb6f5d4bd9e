/// How much of the audit a verification reads.
package enum AuditExtent: Sendable {
    /// Every block.
    case whole
    /// The newest blocks, with about this number of entries.
    case recent(entries: Int)
}
