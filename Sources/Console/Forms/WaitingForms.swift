import Foundation
import Synchronization

/// The forms that wait for their people, sealed, so that each page can offer them.
///
/// They are in the memory of the server that got them. A page that offers a form contains it, so any server accepts it from there.
final class WaitingForms: Sendable {
    /// A form that waits.
    struct Form {
        let kept: String
        /// When it was sent.
        let date: Date
    }

    /// The person of a form.
    struct Person: Hashable {
        let organization: UUID
        let id: UUID
    }

    /// How many forms of one person wait, and how many characters all forms have together. The oldest ones go first.
    private static let (limit, sizeLimit) = (3, 32 << 20)

    private let forms = Mutex<[(person: Person, form: Form)]>([])

    func add(_ kept: String, sentOn date: Date, for person: Person) {
        forms.withLock { forms in
            Self.removeOld(&forms)
            guard !forms.contains(where: { $0.form.kept == kept }) else { return }
            forms.append((person, Form(kept: kept, date: date)))
            while forms.count(where: { $0.person == person }) > Self.limit,
                let first = forms.firstIndex(where: { $0.person == person })
            {
                forms.remove(at: first)
            }
            while forms.reduce(0, { $0 + $1.form.kept.utf8.count }) > Self.sizeLimit { forms.removeFirst() }
        }
    }

    func remove(_ kept: String) { forms.withLock { $0.removeAll { $0.form.kept == kept } } }

    /// The forms of a person, the newest first.
    func all(for person: Person) -> [Form] {
        forms.withLock { forms in
            Self.removeOld(&forms)
            return forms.filter { $0.person == person }.map(\.form).reversed()
        }
    }

    private static func removeOld(_ forms: inout [(person: Person, form: Form)]) {
        forms.removeAll { Date().timeIntervalSince($0.form.date) > KeptForm.patience }
    }
}
