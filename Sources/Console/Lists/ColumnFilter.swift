import Foundation
import Model
import Records
import Tenancy

/// A condition on one column of a list, in the list's address: `f.NAME=VALUE`.
struct ColumnFilter {
    let attribute: AttributeDefinition
    let entity: EntityDefinition

    /// The prefix of the parameters for conditions on columns.
    static let prefix = "f."
    /// The VALUE in the address that finds records without a value in the column.
    static let none = "-"

    /// The parameter's name in the address.
    var name: String { Self.prefix + attribute.logicalName }

    /// The choices for dates, by their names in the address. A name that begins with `older` means times before that period.
    private static let periods: [(name: String, seconds: TimeInterval)] = [
        ("within-1h", 3_600), ("within-24h", 86_400), ("within-7d", 7 * 86_400), ("within-30d", 30 * 86_400),
        ("older-24h", 86_400), ("older-7d", 7 * 86_400), ("older-30d", 30 * 86_400),
    ]

    /// The columns of a list that can be filtered.
    static func all(of entity: EntityDefinition, for roles: RoleSet) -> [ColumnFilter] {
        RecordLayout.of(entity).filters.compactMap { name in
            guard let attribute = entity[name] else { return nil }
            if attribute.type.isReference, target(of: attribute, in: entity).map({ !Navigation.mayList($0, roles) }) ?? true {
                return nil
            }
            return ColumnFilter(attribute: attribute, entity: entity)
        }
    }

    private static func target(of attribute: AttributeDefinition, in entity: EntityDefinition) -> EntityDefinition? {
        entity.singleValued(attribute.logicalName)?.referenced
    }

    /// Whether each record has a value in the column, so that no record is found without one.
    private var isAlwaysSet: Bool { ["createdon", "modifiedon"].contains(attribute.logicalName) || attribute.required == .system }

    /// The condition on records; nil for a value that the column does not accept.
    func condition(_ value: String, now: Date = Date()) -> Filter? {
        let column = RecordQuery.Column(attribute.logicalName)
        if value == Self.none { return isAlwaysSet ? nil : .isNull(column) }
        switch attribute.type {
        case .boolean:
            // A flag that was never set counts as no.
            let isSet = Filter.compare(column, .equal, .bool(true))
            return value == "true" ? isSet : value == "false" ? .not(isSet) : nil
        case .picklist(let options), .state(let options), .status(let options):
            return options.options.contains { "\($0.value)" == value } ? .compare(column, .equal, .number(value)) : nil
        case .dateTime:
            guard let period = Self.periods.first(where: { $0.name == value }) else { return nil }
            let moment = now.addingTimeInterval(-period.seconds)
            return value.hasPrefix("older") ? .within(column, nil, moment) : .within(column, moment, nil)
        case .lookup, .owner:
            guard let primary = Self.target(of: attribute, in: entity)?.primaryName else { return nil }
            return .like(.init(primary, path: [attribute.logicalName]), .holding(value))
        case .string, .memo: return .like(column, .holding(value))
        default: return nil
        }
    }

    /// The values of the template for the field of this condition.
    func field(_ visit: Visit) -> [String: Any] {
        let value = visit.filter(name) ?? ""
        let choices = choices(visit)
        return [
            "name": name, "label": visit.texts.label(attribute, of: entity), "value": value, "isChoice": choices != nil,
            "options": Console.options(choices ?? [], chosen: value),
        ]
    }

    /// The choices; nil for a column with typed text.
    private func choices(_ visit: Visit) -> [(String, String)]? {
        switch attribute.type {
        case .boolean where attribute.logicalName == "directioncode":
            [("", visit.text("all")), ("false", visit.text("received")), ("true", visit.text("outgoing"))]
        case .boolean: [("", visit.text("all")), ("true", visit.text("yes")), ("false", visit.text("no"))]
        case .picklist(let options), .state(let options), .status(let options):
            [("", visit.text("all"))] + options.options.map { ("\($0.value)", visit.texts.option($0.value, of: attribute)) }
        case .dateTime:
            [("", visit.text("all"))] + Self.periods.map { ($0.name, visit.text("period:\($0.name)")) }
                + (isAlwaysSet ? [] : [(Self.none, visit.text("period:never"))])
        default: nil
        }
    }
}
