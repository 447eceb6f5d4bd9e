import Model
import PostgresClient
import Tenancy

/// What determines the text of a new record's INSERT: everything except the values.
struct RecordInsert: Hashable {
    /// Where a column's value comes from.
    enum Source: Hashable {
        /// A value of this record.
        case own
        /// The time of this record's creation.
        case now
        /// A value that records of the same caller have in common.
        case shared
    }

    let schema: String
    let entity: String
    let isTeams: Bool
    /// The `is…set` columns that are not attributes.
    let flags: [String]
    /// The attributes that have a value, by their index in the metadata. So the same set of attributes always has the same
    /// order.
    private(set) var attributes: [Int] = []
    private(set) var sources: [Source] = []

    init(schema: String, entity: String, isTeams: Bool, flags: [String]) {
        self.schema = schema
        self.entity = entity
        self.isTeams = isTeams
        self.flags = flags
    }

    mutating func add(_ attribute: Int, _ source: Source) {
        attributes.append(attribute)
        sources.append(source)
    }

    private static let texts = BoundedCache<RecordInsert, String>()

    /// The SQL of a ``RowInsert``, which returns the version number and the id.
    func text(for entity: EntityDefinition, in organization: Organization) -> String {
        Self.texts.value(of: self) { makeText(for: entity, in: organization) }
    }

    private func makeText(for entity: EntityDefinition, in organization: Organization) -> String {
        var columns: [String] = []
        var expressions: [String] = []
        for (attribute, value) in zip(attributes.map { entity.attributes[$0] }, values) {
            columns.append(attribute.column)
            expressions.append(attribute.type.isNumeric ? "\(value)::numeric" : value)
            if let name = DerivedName(attribute, of: entity, isTeam: isTeams) {
                columns.append(quoteIdentifier(name.column))
                expressions.append(name.expression(in: organization, placeholder: value))
            }
        }
        for flag in flags {
            columns.append(quoteIdentifier(flag))
            expressions.append("true")
        }
        return """
            INSERT INTO \(organization.qualified(entity.logicalName)) (\(columns.joined(separator: ", ")))
            SELECT \(expressions.joined(separator: ", "))
              FROM unnest(\((1...arrays).map { "$\($0)" }.joined(separator: ", ")))
                AS added (\((1...arrays).map { "value\($0)" }.joined(separator: ", ")))
            RETURNING versionnumber, \(entity.idColumn)
            """
    }

    /// How many arrays the INSERT has: one for the time, and one for each column with the source ``Source/own``.
    private var arrays: Int { 1 + sources.count { $0 == .own } }

    /// The expression of each attribute's value.
    private var values: [String] {
        var (own, shared) = (1, arrays)
        return sources.map { source in
            switch source {
            case .now: return "added.value1"
            case .own:
                own += 1
                return "added.value\(own)"
            case .shared:
                shared += 1
                return "$\(shared)"
            }
        }
    }
}
