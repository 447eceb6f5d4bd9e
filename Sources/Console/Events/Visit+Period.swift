import Foundation
import JSON
import Model

// The days of a filter. A browser with JavaScript sends the moments at which the days begin and end in the reader's time zone.
// Without JavaScript the days are days in UTC.
extension Visit {
    fileprivate static let day: TimeInterval = 86_400
    /// How far a time zone is from UTC at most, with an hour more for the day on which the clocks change.
    private static let farthest: TimeInterval = 15 * 3_600

    /// The period from the beginning of a filter's first day to the end of its last day.
    var period: (from: Date?, end: Date?) {
        func moment(_ name: String, _ days: TimeInterval) -> Date? {
            guard let date = filter(name).flatMap(ISO8601.date)?.addingTimeInterval(days * Self.day) else { return nil }
            guard let local = filter("\(name)Time").flatMap(ISO8601.date),
                abs(local.timeIntervalSince(date)) <= Self.farthest
            else { return date }
            return local
        }
        return (moment("from", 0), moment("until", 1))
    }

    /// The values of the filter in a template.
    var periodValues: [String: Any] {
        var values: [String: Any] = [:]
        for name in ["from", "until", "fromTime", "untilTime"] { values[name] = filter(name) ?? "" }
        if let from = period.from, let end = period.end, from >= end { values["problem"] = text("daysReversed") }
        return values
    }
}
