import JSON
package import Model

/// The columns of a result.
package final class RowShape: Sendable {
    package let entity: EntityDefinition
    package let columns: [Column]
    /// Whether a row is a record. Then the first two columns are its id and version.
    package let hasRecords: Bool
    /// Whether the id and the version are returned without being selected.
    package let isIdentified: Bool
    /// Whether the id is among the returned columns.
    package let givesID: Bool
    /// Columns with ids of joined records, used only for paging.
    let idColumns: Set<Int>
    /// The names of the selected columns for `@odata.context`, separated by commas; empty for all.
    package let contextColumns: String

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

    /// A value's position in a row, its form and its name. It has all that writing it needs, without a reference-counted object.
    package struct Place: Sendable {
        let index: Int
        let form: Column.Form
    }

    /// One value of each row.
    package final class Column: Sendable {
        /// Its name in the response.
        package let name: String
        /// Its attribute; nil for an aggregate or a part of a date.
        package let attribute: AttributeDefinition?
        package let type: AttributeType
        /// Its column in the result; nil for an encrypted attribute, which is not read.
        let index: Int?
        /// Whether the client chose the name, or it belongs to an entity other than the rows'.
        package let isRenamed: Bool
        /// Whether only the service uses the value.
        package let isHidden: Bool
        /// The quoted name with a colon in UTF-8, as JSON has it before the value.
        package let key: [UInt8]
        /// The form in which PostgreSQL sends the value.
        let form: Form

        /// The forms of values in PostgreSQL's binary format.
        enum Form {
            case text, number, boolean, integer, id, moment, bytes
        }

        /// The value's position in a row; nil if it is not read.
        package var place: Place? { index.map { Place(index: $0, form: form) } }

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
