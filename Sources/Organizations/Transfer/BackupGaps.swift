import Migrations

/// What a dump lacks of a schema that a restore needs: tables, their rows, keys, guards, rights.
///
/// The migrations that the dump itself records as applied say what the dump should contain. So a dump of an older version is
/// compared with that version.
struct BackupGaps {
    let catalog: DumpCatalog
    let schema: String
    /// The subject of each sentence in ``problems(_:applied:keyVersion:)``.
    let subject: String

    /// How many names one sentence lists.
    private static let shown = 10

    /// - Parameters:
    ///   - applied: The names of the migrations that were applied to the schema; empty if the dump does not say so.
    ///   - keyVersion: The key version in force; nil for `config`, and where the dump does not say so.
    func problems(_ scope: Migration.Scope, applied: Set<String>, keyVersion: Int?) -> [String] {
        let newest = Set(MigrationCatalog.migrations(scope).map(\.name))
        let wanted = MigrationTables(scope, applied: applied.isEmpty ? newest : applied)
        let cells = Set(keyVersion.map { version in wanted.partitioned.map { "\($0)_k\(version)" } } ?? [])
        let (tables, sequences) = (catalog.names(.table, in: schema), catalog.names(.sequence, in: schema))
        let lackingTables = wanted.tables.union(wanted.partitioned).union(wanted.unlogged).union(cells).subtracting(tables)
        // For each table in the dump, the dump should have the rows, also if a DBA added the table. A partition's rows are listed
        // under the partition.
        let lackingRows = tables.subtracting(wanted.partitioned).subtracting(wanted.unlogged).subtracting(
            catalog.names(.rows, in: schema))
        let lackingValues = sequences.subtracting(catalog.names(.sequenceValue, in: schema))
        let lackingViews = wanted.views.subtracting(catalog.names(.view, in: schema))
        let lackingSequences = wanted.sequences.subtracting(sequences)
        return [
            sentence("the dump lacks", "table", lackingTables), sentence("the dump lacks the rows of", "table", lackingRows),
            sentence("the dump lacks", "sequence", lackingSequences),
            sentence("the dump lacks the value of", "sequence", lackingValues), sentence("the dump lacks", "view", lackingViews),
        ].compactMap(\.self) + lackingKinds(scope, hasTables: !tables.isEmpty)
    }

    private func sentence(_ what: String, _ kind: String, _ names: Set<String>) -> String? {
        guard !names.isEmpty else { return nil }
        let more = names.count > Self.shown ? " and \(names.count - Self.shown) more" : ""
        let list = names.sorted().prefix(Self.shown).map { "\(schema).\($0)" }.joined(separator: ", ")
        return
            "\(subject): \(what) the \(kind)\(names.count == 1 ? "" : "s") \(list)\(more). Take the dump again, without options "
            + "that leave tables out"
    }

    /// Kinds of objects, such as indexes, that an option of pg_dump left out as a whole. No option leaves out single objects of
    /// these kinds.
    private func lackingKinds(_ scope: Migration.Scope, hasTables: Bool) -> [String] {
        guard hasTables else { return [] }
        var kinds: [(DumpCatalog.Kind, String, String)] = [
            (.constraint, "keys and constraints", "--section"), (.index, "indexes", "--section"),
            (.rights, "rights", "--no-privileges"),
        ]
        if scope == .organization {
            kinds += [
                (.trigger, "triggers, which guard its tables", "--section"), (.function, "functions", "--section"),
            ]
        }
        return kinds.filter { catalog.names($0.0, in: schema).isEmpty }.map {
            "\(subject): the dump lacks all \($0.1) of the schema \(schema). Take the dump again, without \($0.2)"
        }
    }
}
