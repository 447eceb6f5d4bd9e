/// SQL for a count in a column. SQL may have written any number to the column, so the expressions of this type must not fail for
/// any number.
struct StoredCount {
    /// The count; 0 for null and for a negative number.
    let value: String

    /// - Parameter column: A column of the type `integer`.
    init(_ column: String) { value = "greatest(coalesce(\(column), 0), 0)" }

    /// The count plus `number`. The result does not exceed the largest number of the column.
    ///
    /// - Parameter number: An expression that is 0 or 1.
    func increased(_ number: String = "1") -> String { "(least(\(value), \(Int32.max - 1)) + \(number))" }
}
