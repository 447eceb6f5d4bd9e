/// A condition on fiscal years and periods, whose dates depend on the organization's settings.
package struct FiscalCondition: Sendable {
    /// The name of the condition in the database's function `fiscal_ranges`.
    let kind: String
    /// The number of years or periods. For a condition such as `LastFiscalYear`, the offset from the current year or period.
    let count: Int
    let period: Int
    let year: Int

    /// The arguments of a condition.
    package enum Arguments: Sendable {
        case none, count, period, year, periodAndYear
    }

    private static let names: [String: (kind: String, offset: Int, takes: Arguments)] = [
        "infiscalyear": ("year", 0, .year), "thisfiscalyear": ("relative year", 0, .none),
        "lastfiscalyear": ("relative year", -1, .none),
        "nextfiscalyear": ("relative year", 1, .none), "thisfiscalperiod": ("relative period", 0, .none),
        "lastfiscalperiod": ("relative period", -1, .none), "nextfiscalperiod": ("relative period", 1, .none),
        "lastxfiscalyears": ("last years", 0, .count), "nextxfiscalyears": ("next years", 0, .count),
        "lastxfiscalperiods": ("last periods", 0, .count), "nextxfiscalperiods": ("next periods", 0, .count),
        "infiscalperiod": ("period", 0, .period), "infiscalperiodandyear": ("period and year", 0, .periodAndYear),
        "inorbeforefiscalperiodandyear": ("until", 0, .periodAndYear), "inorafterfiscalperiodandyear": ("from", 0, .periodAndYear),
    ]

    /// The arguments of a condition such as `LastXFiscalYears` or `last-x-fiscal-years`; nil if the name is not that of a fiscal
    /// condition.
    package static func arguments(of name: String) -> Arguments? { names[plain(name)]?.takes }

    /// - Returns: Nil if the name is not that of a fiscal condition.
    package init?(_ name: String, _ numbers: [Int]) {
        guard let (kind, offset, takes) = Self.names[Self.plain(name)] else { return nil }
        self.kind = kind
        let (first, second) = (numbers.first ?? 0, numbers.count > 1 ? numbers[1] : 0)
        switch takes {
        case .none: (count, period, year) = (offset, 0, 0)
        case .count: (count, period, year) = (first, 0, 0)
        case .period: (count, period, year) = (0, first, 0)
        case .year: (count, period, year) = (0, 0, first)
        case .periodAndYear: (count, period, year) = (0, first, second)
        }
    }

    private static func plain(_ name: String) -> String { name.lowercased().replacing("-", with: "") }
}
