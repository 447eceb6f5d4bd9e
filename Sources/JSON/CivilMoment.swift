package import Foundation

/// A date as calendar and clock parts in UTC, to the second. A date more than half a million years from 1970 becomes the last date
/// within that time.
package struct CivilMoment {
    package let year: Int
    package let month: Int
    package let day: Int
    package let hour: Int
    package let minute: Int
    package let second: Int

    /// How many seconds before and after 1970 are converted.
    private static let reach = 1.6e13

    package init(_ date: Date) {
        let since1970 = date.timeIntervalSince1970.rounded(.down)
        var seconds = since1970.isNaN ? 0 : Int(min(max(since1970, -Self.reach), Self.reach))
        let days = (seconds >= 0 ? seconds : seconds - 86_399) / 86_400
        seconds -= days * 86_400
        // Converts days to a civil date, in eras of 400 years that begin in March.
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        hour = seconds / 3_600
        minute = seconds / 60 % 60
        second = seconds % 60
    }
}
