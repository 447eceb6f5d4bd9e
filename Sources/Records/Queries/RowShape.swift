import JSON
package import Model

/// The columns of a result.
package final class RowShape: Sendable {
    package let entity: EntityDefinition
    package let columns: [Column]
    /// Whether a row is a record. If it is, the first two columns are its id and version.
    package let hasRecords: Bool
    /// Whether the id and the version are returned without being selected.
    package let isIdentified: Bool
    /// Whether the id is among the returned columns.
    package let givesID: Bool
    /// Whether `ownerid` is among the returned columns. In the records of users and teams, `ownerid` is the record's own id.
    package let givesOwnerID: Bool
    /// Columns with ids of joined records, used only for paging.
    let idColumns: Set<Int>
    /// The names of the selected columns for `@odata.context`, separated by commas; empty for all.
    package let contextColumns: String

    /// What the rows of a result are.
    enum Kind {
        /// Groups or aggregates.
        case values
        /// Records, with the attributes that were selected.
        case records
        /// Records, with their id and version beside the attributes that were selected.
        case identifiedRecords
    }

    init(
        entity: EntityDefinition, columns: [Column], _ kind: Kind, idColumns: Set<Int> = [], isSelected: Bool = false
    ) {
        self.entity = entity
        self.columns = columns
        hasRecords = kind != .values
        isIdentified = kind == .identifiedRecords
        self.idColumns = idColumns
        contextColumns = isSelected ? columns.filter { !$0.isHidden && !$0.isRenamed }.map(\.name).joined(separator: ",") : ""
        func gives(_ name: String) -> Bool {
            columns.contains { !$0.isHidden && !$0.isRenamed && $0.attribute?.logicalName == name }
        }
        givesID = gives(entity.primaryID)
        givesOwnerID = gives("ownerid")
    }

    /// A value's position in a row, and its form. With these two, the value is written without a reference-counted object.
    package struct Place: Sendable {
        let index: Int
        let kind: AttributeType.Kind
    }

    /// One value of each row.
    package final class Column: Sendable {
        /// The column's name in the response.
        package let name: String
        /// The column's attribute; nil for an aggregate or a part of a date.
        package let attribute: AttributeDefinition?
        package let type: AttributeType
        /// The column's index in the result; nil for an encrypted attribute, which is not read.
        let index: Int?
        /// Whether the client chose the name, or the attribute belongs to a different entity than the rows.
        package let isRenamed: Bool
        /// Whether only the service uses the value.
        package let isHidden: Bool
        /// The quoted name with a colon in UTF-8, as JSON has it before the value.
        package let key: [UInt8]
        /// Says in which form PostgreSQL sends the value.
        let kind: AttributeType.Kind

        /// The value's position in a row; nil if it is not read.
        package var place: Place? { index.map { Place(index: $0, kind: kind) } }

        /// How the column differs from one that is returned under its attribute's own name.
        struct Traits: OptionSet {
            let rawValue: Int

            /// The client chose the name, or the attribute belongs to a different entity than the rows.
            static let renamed = Traits(rawValue: 1)
            /// Only the service uses the value.
            static let hidden = Traits(rawValue: 2)
        }

        init(name: String, attribute: AttributeDefinition?, type: AttributeType, index: Int?, _ traits: Traits) {
            self.name = name
            self.attribute = attribute
            self.type = type
            self.index = index
            isRenamed = traits.contains(.renamed)
            isHidden = traits.contains(.hidden)
            key = JSONValue.string(name).utf8 + [UInt8(ascii: ":")]
            kind = type.kind
        }
    }
}
