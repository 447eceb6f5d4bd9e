import Foundation
import JSON
import Model
import Records

/// Formatted values for people, in US English.
enum FormattedValue {
    /// - Returns: Nil for values without a formatted form.
    static func text(
        _ value: AttributeValue, _ column: RowShape.Column, _ attribute: AttributeDefinition, _ record: Record
    ) throws -> String? {
        switch value {
        case .int(let number):
            if let options = attribute.type.options { return options.options.first { $0.value == number }?.label }
            return number.formatted(.number.locale(Locale(identifier: "en_US")))
        case .bool(let flag): return flag ? "Yes" : "No"
        // Newer libraries write a narrow space before AM and PM. Dataverse's texts have a normal space, and no comma.
        case .date(let date) where attribute.isDateOnly: return date.formatted(dateStyle)
        case .date(let date): return date.formatted(style).replacing("\u{202F}", with: " ").replacing(",", with: "")
        case .text(let entity) where attribute.type.isEntityName: return EntityCatalog.entity(entity)?.displayName
        case .id where attribute.type.isReference:
            // For a renamed lookup, or the lookup of a linked entity, the referenced record's name is read under the column's own
            // name.
            let own = column.isRenamed ? RecordQuery.Output.hiddenName(column.name) : "\(attribute.logicalName)name"
            guard case .text(let name) = try record.value(of: own) else { return nil }
            return name
        default: return nil
        }
    }

    /// - Returns: The text of a number that is not an attribute's value, such as a count; nil for other values.
    static func text(_ number: AttributeValue) -> String? {
        switch number {
        case .int(let number): number.formatted(.number.locale(Locale(identifier: "en_US")))
        case .decimal(let number):
            Decimal(string: number)?.formatted(.number.precision(.fractionLength(2)).locale(Locale(identifier: "en_US")))
        default: nil
        }
    }

    private static let dateStyle = Date.FormatStyle(
        date: .numeric, time: .omitted, locale: Locale(identifier: "en_US"), timeZone: .gmt)
    private static let style = Date.FormatStyle(
        date: .numeric, time: .shortened, locale: Locale(identifier: "en_US"), timeZone: .gmt)
}
