package import Foundation

/// Dates and times in OData 4.0's form (Edm.DateTimeOffset), which is RFC 3339.
package enum ISO8601 {
    /// The dates that records may have. They begin with 1753-01-01, as in Dataverse, because earlier dates differ between
    /// calendars. They end before the year 10000, which has too many digits.
    package static let ofRecords = Date(timeIntervalSince1970: -6_847_804_800)..<Date(timeIntervalSince1970: 253_402_300_800)

    /// Parses a date, or a date and time with or without seconds and their fraction. Without an offset it is in UTC.
    ///
    /// Foundation's parser is not used, because it accepts the 30th of February as the 2nd of March, 25 o'clock as the next day,
    /// and any text at the end.
    ///
    /// - Returns: Nil for an invalid date or time, for years outside of 1 to 9999, and for an offset of more than 14 hours, which no
    ///   zone has.
    package static func date(_ text: String) -> Date? {
        var rest = Substring(text).utf8
        func take(_ characters: String) -> Bool {
            guard let first = rest.first, characters.utf8.contains(first) else { return false }
            rest = rest.dropFirst()
            return true
        }
        func number(_ width: Int, in range: ClosedRange<Int>) -> Int? {
            let digits = rest.prefix(width)
            guard digits.count == width, digits.allSatisfy({ (48...57).contains($0) }) else { return nil }
            rest = rest.dropFirst(width)
            let number = digits.reduce(0) { $0 * 10 + Int($1) - 48 }
            return range.contains(number) ? number : nil
        }
        guard let year = number(4, in: 1...9_999), take("-"), let month = number(2, in: 1...12), take("-"),
            let day = number(2, in: 1...days(of: month, year))
        else { return nil }
        let midnight = Double(days(until: day, month, year) * 86_400)
        if rest.isEmpty { return Date(timeIntervalSince1970: midnight) }
        guard take("Tt "), let hour = number(2, in: 0...23), take(":"), let minute = number(2, in: 0...59) else { return nil }
        var seconds = Double(hour * 3_600 + minute * 60)
        if take(":") {
            guard let whole = number(2, in: 0...59) else { return nil }
            seconds += Double(whole)
            if take(".") {
                let digits = rest.prefix { (48...57).contains($0) }
                guard !digits.isEmpty, let fraction = Double("0.\(Substring(digits))") else { return nil }
                rest = rest.dropFirst(digits.count)
                seconds += fraction
            }
        }
        if !rest.isEmpty, !take("Zz") {
            let sign: Double = rest.first == UInt8(ascii: "-") ? 1 : -1
            guard take("+-"), let hours = number(2, in: 0...14), take(":"), let minutes = number(2, in: 0...(hours < 14 ? 59 : 0))
            else { return nil }
            seconds += sign * Double(hours * 3_600 + minutes * 60)
        }
        return rest.isEmpty ? Date(timeIntervalSince1970: midnight + seconds) : nil
    }

    private static func days(of month: Int, _ year: Int) -> Int {
        switch month {
        case 2: year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// The days from 1970-01-01 to a date, in eras of 400 years that begin in March.
    private static func days(until day: Int, _ month: Int, _ year: Int) -> Int {
        let year = month <= 2 ? year - 1 : year
        let era = year / 400
        let yearOfEra = year - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    /// Writes a date in UTC, to the second, as Dataverse does.
    package static func text(_ date: Date) -> String {
        var output: [UInt8] = []
        output.append(date)
        return String(decoding: output, as: UTF8.self)
    }
}

extension [UInt8] {
    /// Appends a date in UTC, to the second (RFC 3339 section 5.6), as Dataverse does.
    package mutating func append(_ date: Date) {
        let moment = CivilMoment(date)
        if moment.year >= 0, moment.year < 1_000 {
            let zeros = moment.year < 10 ? 3 : moment.year < 100 ? 2 : 1
            append(contentsOf: repeatElement(UInt8(ascii: "0"), count: zeros))
        }
        appendDecimal(moment.year)
        appendTwoDigits(moment.month, after: "-")
        appendTwoDigits(moment.day, after: "-")
        appendTwoDigits(moment.hour, after: "T")
        appendTwoDigits(moment.minute, after: ":")
        appendTwoDigits(moment.second, after: ":")
        append(UInt8(ascii: "Z"))
    }

    private mutating func appendTwoDigits(_ number: Int, after separator: Unicode.Scalar) {
        append(UInt8(ascii: separator))
        append(UInt8(ascii: "0") + UInt8(number / 10))
        append(UInt8(ascii: "0") + UInt8(number % 10))
    }
}
