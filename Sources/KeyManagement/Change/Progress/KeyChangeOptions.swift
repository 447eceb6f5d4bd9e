/// Options of a key change.
package struct KeyChangeOptions: Sendable {
    /// Move cells that do not open to `quarantined_cell` and continue, instead of stopping.
    package var skipsUnreadable = false
    /// The version that is in force, as the caller knows it. Another one is left as it is; nil for any.
    package var version: Int?
    /// Called with the progress, from any thread.
    package var onProgress: (@Sendable (KeyChangeProgress) -> Void)?

    package init(skipsUnreadable: Bool = false, version: Int? = nil, onProgress: (@Sendable (KeyChangeProgress) -> Void)? = nil) {
        self.version = version
        self.skipsUnreadable = skipsUnreadable
        self.onProgress = onProgress
    }
}
