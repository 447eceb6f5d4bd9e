import Synchronization

/// Counts the forms with files that are held in memory.
final class HeldUploads: Sendable {
    private let count = Mutex(0)

    /// One of them, until nothing refers to it.
    final class Hold: Sendable {
        private let uploads: HeldUploads

        fileprivate init(_ uploads: HeldUploads) { self.uploads = uploads }

        deinit { uploads.count.withLock { $0 -= 1 } }
    }

    /// - Returns: Nil while as many are held as may be.
    func hold(_ limit: Int) -> Hold? {
        let isHeld = count.withLock { count in
            guard count < limit else { return false }
            count += 1
            return true
        }
        return isHeld ? Hold(self) : nil
    }
}
