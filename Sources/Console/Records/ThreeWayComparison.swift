/// Compares the fields of a form that two people edited: as loaded, as the other person saved it, and as typed.
struct ThreeWayComparison {
    /// Fields that only the other person changed. The form shows the other person's values of these fields.
    private(set) var taken: [String] = []
    /// Fields that both people changed, to different values.
    private(set) var contested: [String] = []
    /// The values that the form shows now.
    private(set) var merged: [String: String] = [:]

    init(loaded: [String: String], theirs: [String: String], yours: [String: String]) {
        for (name, their) in theirs.sorted(by: { $0.key < $1.key }) {
            guard let your = yours[name] else { continue }
            let old = loaded[name] ?? your
            if your == old {
                merged[name] = their
                if their != old { taken.append(name) }
            } else if their != old, their != your {
                contested.append(name)
            }
        }
    }
}
