/// Numbers with a unit, for times and sizes.
enum Quantity {
    /// The unit of a number that is written without a unit.
    enum Unit: String {
        case seconds, days, mebibytes

        /// The units that a number may have, each with its factor to this unit.
        fileprivate var others: KeyValuePairs<String, Int> {
            switch self {
            case .seconds: ["s": 1, "m": 60, "min": 60, "h": 3_600, "d": 86_400, "w": 604_800]
            case .days: ["d": 1, "w": 7]
            case .mebibytes: ["MiB": 1, "GiB": 1_024, "TiB": 1_048_576]
            }
        }

        /// The allowed forms of a number, for a message.
        var words: String {
            switch self {
            case .seconds: "seconds, or a number with s, m, h, d or w such as 5m"
            case .days: "days, or a number with d or w such as 12w"
            case .mebibytes: "MiB, or a number with MiB, GiB or TiB such as 1GiB"
            }
        }
    }

    /// Parses a number with an optional unit, with or without a space between them.
    ///
    /// - Returns: Nil for anything else, and for a number that is out of an integer's range.
    static func number(_ text: String, in unit: Unit) -> Int? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard (1...18).contains(digits.count), digits.count == 1 || digits.first != "0", let number = Int(digits) else {
            return nil
        }
        let rest = text.dropFirst(digits.count)
        let name = rest.first == " " ? rest.dropFirst() : rest
        if rest.isEmpty { return number }
        guard let factor = unit.others.first(where: { $0.key == name })?.value else { return nil }
        let (product, overflow) = number.multipliedReportingOverflow(by: factor)
        return overflow ? nil : product
    }
}
