public import Foundation

/// Dates and times as OData 4.0 writes them (Edm.DateTimeOffset), which is RFC 3339.
public enum ISO8601 {
    /// Reads a date, or a date and time; without an offset it counts as UTC.
    public static func date(_ text: String) -> Date? {
        if let date = try? Date(text, strategy: .iso8601) { return date }
        if let date = try? Date(text, strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true)) { return date }
        guard !text.hasSuffix("Z"), text.count >= 10 else { return nil }
        if text.count == 10 { return try? Date("\(text)T00:00:00Z", strategy: .iso8601) }
        // A second look with "Z" appended can't repeat itself.
        return date("\(text)Z")
    }

    /// Writes a date in UTC, to the second, as Dataverse does.
    public static func text(_ date: Date) -> String {
        var output: [UInt8] = []
        output.append(date)
        return String(decoding: output, as: UTF8.self)
    }
}

extension [UInt8] {
    /// Appends a date in UTC, to the second (RFC 3339 section 5.6), as Dataverse does.
    public mutating func append(_ date: Date) {
        var seconds = Int(date.timeIntervalSince1970.rounded(.down))
        let days = (seconds >= 0 ? seconds : seconds - 86_399) / 86_400
        seconds -= days * 86_400
        // Days to a civil date, in eras of 400 years that begin in March.
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        if year >= 0, year < 1_000 {
            append(contentsOf: repeatElement(UInt8(ascii: "0"), count: year < 10 ? 3 : year < 100 ? 2 : 1))
        }
        appendDecimal(year)
        appendTwoDigits(month, after: "-")
        appendTwoDigits(day, after: "-")
        appendTwoDigits(seconds / 3_600, after: "T")
        appendTwoDigits(seconds / 60 % 60, after: ":")
        appendTwoDigits(seconds % 60, after: ":")
        append(UInt8(ascii: "Z"))
    }

    private mutating func appendTwoDigits(_ number: Int, after separator: Unicode.Scalar) {
        append(UInt8(ascii: separator))
        append(UInt8(ascii: "0") + UInt8(number / 10))
        append(UInt8(ascii: "0") + UInt8(number % 10))
    }
}
