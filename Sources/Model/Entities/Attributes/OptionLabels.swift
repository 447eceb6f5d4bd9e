import PostgresClient

/// The values of a picklist and their labels, in order.
package struct OptionLabels: Sendable, ExpressibleByDictionaryLiteral {
    package let options: [(value: Int64, label: String)]

    package init(dictionaryLiteral elements: (Int64, String)...) {
        options = elements.map { (value: $0.0, label: $0.1) }
    }

    /// Whether one of the options has this value.
    package func contains(_ value: Int64) -> Bool { options.contains { $0.value == value } }
}
