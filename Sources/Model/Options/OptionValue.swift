/// The options of a picklist, a state or a status whose numbers this program knows by name.
package protocol OptionValue: RawRepresentable, Hashable, CaseIterable, Sendable where RawValue: FixedWidthInteger {}

extension OptionValue {
    /// The option's number as text of SQL.
    package var sql: String { "\(rawValue)" }

    /// The option as the value of an attribute.
    package var value: AttributeValue { .int(Int64(rawValue)) }
}

extension Set where Element: OptionValue {
    /// The options for SQL's `IN`. The order is fixed, so that it matches the conditions of indexes.
    package var sql: String { "(\(map(\.rawValue).sorted().map { "\($0)" }.joined(separator: ", ")))" }
}
