/// The result of a key change.
package struct KeyChangeSummary: Sendable {
    /// The new key version.
    package let keyVersion: Int
    package let fingerprint: String
    /// How many cells were encrypted again.
    package let cells: Int
    package let duration: Duration
    /// How long writers waited at the end.
    package let pause: Duration
    /// Addresses of the cells that were moved to quarantine, each with the cause.
    package let quarantined: [String]
}
