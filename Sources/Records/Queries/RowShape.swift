import JSON
public import Model

/// What the columns of a result are.
public final class RowShape: Sendable {
    public let entity: EntityDefinition
    public let columns: [Column]
    /// Whether a row is a record, whose id and version are the first two columns.
    public let hasRecords: Bool
    /// Whether the id and the version are given without being selected.
    public let isIdentified: Bool
    /// Whether the id is among the columns that are given.
    public let givesID: Bool
    /// Columns with ids of joined records, which only paging needs.
    let idColumns: Set<Int>
    /// The names of the columns that were asked for, separated by commas, as `@odata.context` lists them; empty for all.
    public let contextColumns: String

    init(
        entity: EntityDefinition, columns: [Column], hasRecords: Bool, isIdentified: Bool = true, idColumns: Set<Int> = [],
        isSelected: Bool = false
    ) {
        self.entity = entity
        self.columns = columns
        self.hasRecords = hasRecords
        self.isIdentified = isIdentified
        self.idColumns = idColumns
        contextColumns = isSelected ? columns.filter { !$0.isHidden && !$0.isRenamed }.map(\.name).joined(separator: ",") : ""
        givesID = columns.contains { !$0.isHidden && !$0.isRenamed && $0.attribute?.logicalName == entity.primaryID }
    }

    /// Where a value stands in a row, and its form: enough to write it, without an object whose references are counted.
    public struct Place: Sendable {
        let index: Int
        let form: Column.Form
    }

    /// One value of each row.
    public final class Column: Sendable {
        /// Its name in an answer.
        public let name: String
        /// What it is a value of; nil for an aggregate or a part of a date.
        public let attribute: AttributeDefinition?
        public let type: AttributeType
        /// The column of the result; nil where nothing is read, because the value is sealed.
        let index: Int?
        /// Whether the client chose the name, or it belongs to another entity than the rows.
        public let isRenamed: Bool
        /// Whether the value is for the service itself.
        public let isHidden: Bool
        /// The name in quotes with a colon, as UTF-8: what stands before the value in JSON.
        public let key: [UInt8]
        /// How PostgreSQL sends the value.
        let form: Form

        /// The forms that values have in PostgreSQL's binary format.
        enum Form {
            case text, number, boolean, integer, id, moment, bytes
        }

        /// Where the value stands in a row; nil where nothing is read.
        public var place: Place? { index.map { Place(index: $0, form: form) } }

        init(
            name: String, attribute: AttributeDefinition?, type: AttributeType, index: Int?, isRenamed: Bool, isHidden: Bool = false
        ) {
            self.name = name
            self.attribute = attribute
            self.type = type
            self.index = index
            self.isRenamed = isRenamed
            self.isHidden = isHidden
            key = JSONValue.string(name).utf8 + [UInt8(ascii: ":")]
            form =
                switch type {
                case .string, .memo, .entityName: .text
                case .decimal: .number
                case .boolean: .boolean
                case .integer, .bigInt, .picklist, .state, .status: .integer
                case .lookup, .owner, .uniqueIdentifier: .id
                case .dateTime: .moment
                case .image: .bytes
                }
        }
    }
}
