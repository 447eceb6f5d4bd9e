import Foundation
import JSON
import Model
import Records

/// The named conditions that Dataverse's query functions and FetchXML's operators share, such as `LastXDays` and `last-x-days`.
enum Condition {
    /// Adds a value to the values of a condition.
    ///
    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` when the maximum number is reached.
    static func add(_ value: Literal, to values: inout [Literal]) throws(FieldsealError) {
        guard values.count < APILimits.valueCount else { throw tooManyValues }
        values.append(value)
    }

    static var tooManyValues: FieldsealError {
        FieldsealError(.queryDoesNotFit, "A condition takes at most \(APILimits.valueCount) values.")
    }

    /// The condition; nil for an unknown name.
    ///
    /// - Throws: ``FieldsealError`` when the condition needs other values.
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
        if let arguments = FiscalCondition.arguments(of: name) { return try fiscal(name, arguments, column, values) }
        if let place = Self.places[name.lowercased().replacing("-", with: "")] {
            try require(values, 1, name)
            let condition = Filter.hierarchy(column, place, values[0])
            return name.lowercased().hasPrefix("not") ? .not(condition) : condition
        }
        switch name.lowercased().replacing("-", with: "") {
        case "in", "notin":
            // Without values, the condition would compare with nothing.
            guard !values.isEmpty else { throw FieldsealError(.queryDoesNotFit, "\(name.prefix(50)) takes at least one value.") }
            return name.lowercased() == "in" ? .isIn(column, values) : .not(.isIn(column, values))
        case "between", "notbetween":
            try require(values, 2, name)
            let range = Filter.all([.compare(column, .greaterOrEqual, values[0]), .compare(column, .lessOrEqual, values[1])])
            return name.lowercased().hasPrefix("not") ? .not(range) : range
        case "on", "noton", "onorafter", "onorbefore": return try day(name, column, values)
        default: return try callers(name, column, values)
        }
    }

    private static let places: [String: Filter.HierarchyPlace] = [
        "above": .above, "under": .under, "notunder": .under, "aboveorequal": .atOrAbove, "underorequal": .atOrUnder,
        "eqorabove": .atOrAbove, "eqorunder": .atOrUnder,
    ]

    private static func fiscal(
        _ name: String, _ arguments: FiscalCondition.Arguments, _ column: RecordQuery.Column, _ values: [Literal]
    ) throws(FieldsealError) -> Filter {
        let ranges: [ClosedRange<Int>] =
            switch arguments {
            case .none: []
            case .count: [1...10_000]
            case .period: [1...13]
            case .year: [1900...2200]
            case .periodAndYear: [1...13, 1900...2200]
            }
        try require(values, ranges.count, name)
        var numbers: [Int] = []
        for (value, range) in zip(values, ranges) {
            guard let number = number(value), range.contains(number) else {
                throw FieldsealError(
                    .queryDoesNotFit, "\(name.prefix(50)) takes a number of \(range.lowerBound) to \(range.upperBound).")
            }
            numbers.append(number)
        }
        guard let condition = FiscalCondition(name, numbers) else { return .constant(false) }
        return .fiscal(column, condition)
    }

    private static let owned: [String: (own: Filter.CallersOwn, isNegated: Bool)] = [
        "equaluserid": (.user, false), "equserid": (.user, false), "notequaluserid": (.user, true), "neuserid": (.user, true),
        "equalbusinessid": (.businessUnit, false), "eqbusinessid": (.businessUnit, false),
        "notequalbusinessid": (.businessUnit, true), "nebusinessid": (.businessUnit, true),
        "equaluserteams": (.teams, false), "equserteams": (.teams, false),
        "equaluseroruserteams": (.userOrTeams, false), "equseroruserteams": (.userOrTeams, false),
    ]

    /// A condition that refers to the caller; nil for another name.
    private static func callers(_ name: String, _ column: RecordQuery.Column, _ values: [Literal]) throws(FieldsealError) -> Filter?
    {
        guard let (own, isNegated) = owned[name.lowercased().replacing("-", with: "")] else { return nil }
        try require(values, 0, name)
        return isNegated ? .not(.isCallers(column, own)) : .isCallers(column, own)
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
