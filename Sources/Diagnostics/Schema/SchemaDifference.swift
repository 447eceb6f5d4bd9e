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
        list(actual.lines ?? [:], against: reference.lines ?? [:])
    }

    private static func list(
        _ here: [SchemaDescription.Line: String], against wanted: [SchemaDescription.Line: String]
    ) -> [SchemaDifference] {
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

    // MARK: Tables of other key versions

    /// The differences of a cell table of another key version than the one in force.
    ///
    /// - Parameters:
    ///   - actual: The schema as described for the table's key version.
    ///   - reference: The schema that the migrations make.
    static func list(
        of table: CellGenerations.Table, _ actual: SchemaDescription, against reference: SchemaDescription
    ) -> [SchemaDifference] {
        let name = "\(table.parent)_k@"
        func lines(_ description: SchemaDescription) -> [SchemaDescription.Line: String] {
            (description.lines ?? [:]).filter { $0.key.name.contains(name) }
        }
        let here = lines(actual)
        // A sweep may have dropped the table meanwhile.
        guard !here.isEmpty else { return [] }
        var wanted = lines(reference)
        if table.isPartition {
            // A partition of a later version has no such trigger. `Doctor.leaves` reports a retired partition without it.
            for (line, definition) in retirement(of: name) where here[line] != nil { wanted[line] = definition }
            return list(here, against: wanted)
        }
        // `create_generation` made the table, which is not filled, finished and attached yet.
        let whole = SchemaDescription.Line(kind: "table", name: name)
        wanted[whole] = wanted[whole]?.replacing(" FOR VALUES IN (@)", with: "")
        for right in ["INSERT", "UPDATE", "DELETE"] {
            let line = SchemaDescription.Line(kind: "grant", name: "\(right) on \(name) to fieldseal_service")
            if here[line] != nil { wanted[line] = "" }
        }
        return list(here, against: wanted).filter { $0.problem != .missing }
    }

    /// The lines of the trigger that `switch_generation` creates on the former partition: BEFORE INSERT OR UPDATE OR DELETE FOR
    /// EACH ROW.
    private static func retirement(of table: String) -> [SchemaDescription.Line: String] {
        let trigger = "\(table).a_retired"
        return [
            .init(kind: "trigger", name: trigger): "31 @ refuse_retired 0  t f f of",
            .init(kind: "trigger state", name: trigger): "O",
        ]
    }
}
