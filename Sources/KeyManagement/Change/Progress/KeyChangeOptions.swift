/// Options of a key change.
package struct KeyChangeOptions: Sendable {
    /// Move cells that do not open to `quarantined_cell` and continue, instead of stopping.
    package var skipsUnreadable = false
    /// The version that the caller believes to be in force. If another version is in force, the key is not changed. Nil to change
    /// the key of any version.
    package var version: Int?
    /// Called with the progress, from any thread.
    package var onProgress: (@Sendable (KeyChangeProgress) -> Void)?

    package init(skipsUnreadable: Bool = false, version: Int? = nil, onProgress: (@Sendable (KeyChangeProgress) -> Void)? = nil) {
        self.version = version
        self.skipsUnreadable = skipsUnreadable
        self.onProgress = onProgress
    }
}
