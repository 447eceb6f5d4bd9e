import Fieldseal
import Foundation

/// The named conditions that Dataverse's query functions and FetchXML's operators share, such as `LastXDays` and `last-x-days`.
enum Condition {
    /// The condition, or nil when there is none of that name.
    ///
    /// - Throws: ``FieldsealError`` when it takes other values.
    static func filter(_ name: String, _ column: RecordQuery.Column, _ values: [Literal]) throws(FieldsealError) -> Filter? {
        if let date = DateOperator(name) {
            guard date.takesNumber else {
                try require(values, 0, name)
                let (from, to) = date.range()
                return .within(column, from, to)
            }
            try require(values, 1, name)
            guard let number = number(values[0]), (1...10_000).contains(number) else {
                throw FieldsealError(.queryDoesNotFit, "\(name.prefix(50)) takes a number of 1 to 10000.")
            }
            let (from, to) = date.range(number)
            return .within(column, from, to)
        }
        switch name.lowercased().replacing("-", with: "") {
        case "in", "containvalues": return .isIn(column, values)
        case "notin": return .not(.isIn(column, values))
        case "between", "notbetween":
            try require(values, 2, name)
            let range = Filter.all([.compare(column, .greaterOrEqual, values[0]), .compare(column, .lessOrEqual, values[1])])
            return name.lowercased().hasPrefix("not") ? .not(range) : range
        case "on", "noton", "onorafter", "onorbefore": return try day(name, column, values)
        case "equaluserid", "equserid": return .isCallers(column, .user)
        case "notequaluserid", "neuserid": return .not(.isCallers(column, .user))
        case "equalbusinessid", "eqbusinessid": return .isCallers(column, .businessUnit)
        case "notequalbusinessid", "nebusinessid": return .not(.isCallers(column, .businessUnit))
        default: return nil
        }
    }

    private static func day(_ name: String, _ column: RecordQuery.Column, _ values: [Literal]) throws(FieldsealError) -> Filter {
        try require(values, 1, name)
        guard case .text(let text) = values[0], let date = ISO8601.date(text) else {
            throw FieldsealError(.queryDoesNotFit, "\(name.prefix(50)) takes a date such as 2026-01-31.")
        }
        let (from, to) = DateOperator.day(of: date)
        switch name.lowercased().replacing("-", with: "") {
        case "on": return .within(column, from, to)
        case "noton": return .not(.within(column, from, to))
        case "onorafter": return .within(column, from, nil)
        default: return .within(column, nil, to)
        }
    }

    private static func number(_ literal: Literal) -> Int? {
        switch literal {
        case .number(let text), .text(let text): Int(text)
        default: nil
        }
    }

    private static func require(_ values: [Literal], _ count: Int, _ name: String) throws(FieldsealError) {
        guard values.count == count else {
            throw FieldsealError(.queryDoesNotFit, "\(name.prefix(50)) takes \(count) values, and was given \(values.count).")
        }
    }
}
