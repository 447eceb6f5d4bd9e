/// Options of a key change.
package struct KeyChangeOptions: Sendable {
    /// Move cells that do not open to `quarantined_cell` and continue, instead of stopping.
    package var skipsUnreadable = false
    /// Called with the progress, from any thread.
    package var onProgress: (@Sendable (KeyChangeProgress) -> Void)?

    package init(skipsUnreadable: Bool = false, onProgress: (@Sendable (KeyChangeProgress) -> Void)? = nil) {
        self.skipsUnreadable = skipsUnreadable
        self.onProgress = onProgress
    }
}
