import Foundation
import PostgresClient

/// The schema of a new organization as statements that make it at once. A test compares it with what all migrations make.
///
/// PostgreSQL resolves the name of a function among all functions of that name, in all schemas. With many organizations that is
/// slow. So the statements give the functions temporary names, and rename them at the end.
struct NewOrganizationSchema {
    /// The statements for tables, functions, triggers and rights.
    private let schema: Substring
    /// The statements that make empty cell tables of key version 1, and put them in force.
    private let firstGeneration: Substring
    /// The statements that give the functions their own names.
    private let names: Substring

    /// The statements of `migrations/organization.sql`.
    static let embedded: NewOrganizationSchema = {
        guard let text = MigrationCatalog.files.first(where: { $0.path == "organization.sql" })?.sql,
            let first = text.firstRange(of: "\n-- First generation\n"), let second = text.firstRange(of: "\n-- Names\n")
        else { preconditionFailure("migrations/organization.sql lacks one of its parts") }
        return NewOrganizationSchema(
            schema: text[..<first.lowerBound], firstGeneration: text[first.upperBound..<second.lowerBound],
            names: text[second.upperBound...])
    }()

    /// The statements, for one schema.
    func statements(withFirstGeneration: Bool) -> String {
        let mark = UInt64.random(in: .min ... .max)
        return [schema, withFirstGeneration ? firstGeneration : "", names].joined(separator: "\n")
            .replacing("$new", with: "$" + String(mark, radix: 16))
    }
}
