import Foundation
import Synchronization

/// Counts the bytes of forms with files that are held in memory, for each person and for all of them.
final class HeldUploads: Sendable {
    private struct State {
        var total = 0
        var ofPerson: [UUID: Int] = [:]
    }

    private let state = Mutex(State())
    /// How many bytes the forms of one person have at most.
    private let personLimit: Int
    /// How many bytes all forms have at most.
    private let limit: Int

    init(personLimit: Int, limit: Int) {
        self.personLimit = personLimit
        self.limit = limit
    }

    /// The bytes of one form. They count as held while this object exists.
    final class Hold: Sendable {
        private let uploads: HeldUploads
        private let person: UUID
        private let held = Mutex(0)

        fileprivate init(_ uploads: HeldUploads, _ person: UUID) {
            self.uploads = uploads
            self.person = person
        }

        /// Counts bytes that have arrived.
        ///
        /// - Returns: Whether they may be held. If not, they are not counted.
        func add(_ bytes: Int) -> Bool {
            guard uploads.add(bytes, of: person) else { return false }
            held.withLock { $0 += bytes }
            return true
        }

        deinit { uploads.remove(held.withLock { $0 }, of: person) }
    }

    /// The hold of a new form of a person, which has no bytes yet. So a form that does not arrive takes no room from others.
    func hold(of person: UUID) -> Hold { Hold(self, person) }

    private func add(_ bytes: Int, of person: UUID) -> Bool {
        state.withLock { state in
            let own = state.ofPerson[person, default: 0] + bytes
            guard own <= personLimit, state.total + bytes <= limit else { return false }
            state.ofPerson[person] = own
            state.total += bytes
            return true
        }
    }

    private func remove(_ bytes: Int, of person: UUID) {
        state.withLock { state in
            let own = state.ofPerson[person, default: 0] - bytes
            state.ofPerson[person] = own > 0 ? own : nil
            state.total -= bytes
        }
    }
}
