import Synchronization

/// Counts the forms with files that are held in memory.
final class HeldUploads: Sendable {
    private let count = Mutex(0)

    /// One form counts as held while this object exists.
    final class Hold: Sendable {
        private let uploads: HeldUploads

        fileprivate init(_ uploads: HeldUploads) { self.uploads = uploads }

        deinit { uploads.count.withLock { $0 -= 1 } }
    }

    /// - Returns: Nil if the limit is reached.
    func hold(_ limit: Int) -> Hold? {
        let isHeld = count.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
        }
        return isHeld ? Hold(self) : nil
    }
}
