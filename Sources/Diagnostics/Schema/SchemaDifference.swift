import PostgresClient

/// The differences between a schema and what the program's migrations make.
struct SchemaDifference: Sendable {
    /// The kind of a difference.
    enum Problem: Sendable { case missing, changed, foreign }

    let line: SchemaDescription.Line
    let problem: Problem
    /// The actual definition of a line that was changed; nil for a missing or a foreign line.
    let actual: String?

    /// All differences, by name. A table that is missing or foreign as a whole is one difference.
    static func list(_ actual: SchemaDescription, against reference: SchemaDescription) -> [SchemaDifference] {
        let (here, wanted) = (actual.lines ?? [:], reference.lines ?? [:])
        let missing = wanted.keys.filter { here[$0] == nil }.map { SchemaDifference(line: $0, problem: .missing, actual: nil) }
        let foreign = here.keys.filter { wanted[$0] == nil }.map { SchemaDifference(line: $0, problem: .foreign, actual: nil) }
        let changed = wanted.compactMap { line, definition in
            here[line].flatMap { $0 == definition ? nil : SchemaDifference(line: line, problem: .changed, actual: $0) }
        }
        let all = missing + foreign + changed
        let whole = Set(
            all.filter { ["table", "view", "sequence"].contains($0.line.kind) && $0.problem != .changed }.map(\.line.name))
        return all.filter { difference in
            if difference.line.kind == "grant" { return !whole.contains { difference.line.name.contains(" on \($0) to ") } }
            // If a trigger is missing or foreign, the state of the trigger is not reported in addition.
            if difference.line.kind == "trigger state", difference.problem != .changed { return false }
            return !whole.contains { difference.line.name.hasPrefix("\($0).") }
        }.sorted { ($0.line.name, $0.line.kind) < ($1.line.name, $1.line.kind) }
    }
}
