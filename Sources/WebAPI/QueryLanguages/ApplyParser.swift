import Foundation
import Model
import Records

/// Parses `$apply` (OData Data Aggregation 4.0, sections 3.1, 3.10 and 3.12): `filter`, `groupby` and `aggregate`.
enum ApplyParser {
    static func parse(_ text: String, of entity: EntityDefinition?, into query: inout RecordQuery) throws(FieldsealError) {
        for step in try ExpandParser.split(text, at: "/") {
            let step = step.trimmingCharacters(in: .whitespaces)
            guard let open = step.firstIndex(of: "("), step.hasSuffix(")") else { throw malformed }
            let inner = String(step[step.index(after: open)...].dropLast())
            switch step[..<open] {
            case "filter":
                guard query.outputs.isEmpty else { throw malformed }
                let filter = try FilterParser.parse(inner)
                query.filter = query.filter.and(filter)
            case "groupby":
                let parts = try ExpandParser.split(inner, at: ",").map { $0.trimmingCharacters(in: .whitespaces) }
                guard let columns = parts.first, columns.hasPrefix("("), columns.hasSuffix(")"), parts.count <= 2 else {
                    throw malformed
                }
                for name in columns.dropFirst().dropLast().split(separator: ",") {
                    let column = Self.column(name.trimmingCharacters(in: .whitespaces))
                    query.groups.append(.init(column))
                    query.outputs.append(.init(.column(column), name: outputName(of: column, from: entity)))
                }
                guard !query.groups.isEmpty else { throw malformed }
                if parts.count == 2 {
                    guard parts[1].hasPrefix("aggregate("), parts[1].hasSuffix(")") else { throw malformed }
                    try aggregate(String(parts[1].dropFirst(10).dropLast()), &query)
                }
            case "aggregate": try aggregate(inner, &query)
            default: throw FieldsealError(.notImplemented, "$apply knows filter, groupby and aggregate.")
            }
        }
    }

    /// The name of a group over a path, as Dataverse forms it: the logical name of the entity that the path leads to, `_` and
    /// the attribute.
    private static func outputName(of column: RecordQuery.Column, from entity: EntityDefinition?) -> String? {
        guard let last = column.path.last else { return nil }
        var entity = entity
        for step in column.path {
            let relationships = entity?.singleValued(all: step) ?? []
            // An owner is a user or a team, which both are principals.
            guard relationships.count <= 1 else { return "principal_\(column.name)" }
            entity = relationships.first?.referenced
        }
        return "\(entity?.logicalName ?? last)_\(column.name)"
    }

    private static func aggregate(_ text: String, _ query: inout RecordQuery) throws(FieldsealError) {
        for item in text.split(separator: ",") {
            let words = item.split(separator: " ").map(String.init)
            if words.count == 3, words[0] == "$count", words[1] == "as" {
                query.outputs.append(.init(.aggregate(.count, nil), name: try OutputName.checked(words[2], "$apply")))
                continue
            }
            guard words.count == 5, words[1] == "with", words[3] == "as" else { throw malformed }
            let aggregates: [String: RecordQuery.Aggregate] = [
                "sum": .sum, "average": .average, "min": .minimum, "max": .maximum, "countdistinct": .countDistinct,
                "count": .countColumn,
            ]
            guard let aggregate = aggregates[words[2]] else {
                throw FieldsealError(.queryDoesNotFit, "$apply aggregates with sum, average, min, max or countdistinct.")
            }
            query.outputs.append(.init(.aggregate(aggregate, column(words[0])), name: try OutputName.checked(words[4], "$apply")))
        }
    }

    private static func column(_ text: String) -> RecordQuery.Column {
        var steps = text.split(separator: "/").map(String.init)
        let name = steps.popLast() ?? ""
        return .init(name, path: steps)
    }

    private static var malformed: FieldsealError {
        FieldsealError(
            .queryDoesNotFit,
            "$apply is not of the form filter(…)/groupby((a,b),aggregate(c with sum as d)) or aggregate(c with sum as d).")
    }
}
