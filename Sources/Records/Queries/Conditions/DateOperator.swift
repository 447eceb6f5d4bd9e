package import Foundation

/// The date conditions of Dataverse's query functions and of FetchXML. Query functions and FetchXML have the same names for these
/// conditions.
package struct DateOperator: Sendable {
    private let kind: Kind
    /// Whether the operator takes a number.
    package let takesNumber: Bool

    private enum Kind {
        /// A whole unit, `offset` units away from the current one.
        case whole(Calendar.Component, offset: Int)
        case last(Calendar.Component)
        case next(Calendar.Component)
        case older(Calendar.Component)
    }

    /// The operator of a name such as `LastXDays` or `last-x-days`; nil when there is none.
    package init?(_ name: String) {
        let name = name.lowercased().replacing("-", with: "")
        let units: [(String, Calendar.Component)] = [
            ("minute", .minute), ("hour", .hour), ("day", .day), ("week", .weekOfYear), ("month", .month), ("year", .year),
        ]
        if let offset = ["yesterday": -1, "today": 0, "tomorrow": 1][name] {
            (kind, takesNumber) = (.whole(.day, offset: offset), false)
            return
        }
        for (unit, component) in units {
            switch name {
            case "last\(unit)": (kind, takesNumber) = (.whole(component, offset: -1), false)
            case "this\(unit)": (kind, takesNumber) = (.whole(component, offset: 0), false)
            case "next\(unit)": (kind, takesNumber) = (.whole(component, offset: 1), false)
            case "lastx\(unit)s": (kind, takesNumber) = (.last(component), true)
            case "nextx\(unit)s": (kind, takesNumber) = (.next(component), true)
            case "olderthanx\(unit)s": (kind, takesNumber) = (.older(component), true)
            case "last7\(unit)s" where unit == "day", "lastseven\(unit)s" where unit == "day":
                (kind, takesNumber) = (.last(component), false)
            case "next7\(unit)s" where unit == "day", "nextseven\(unit)s" where unit == "day":
                (kind, takesNumber) = (.next(component), false)
            default: continue
            }
            return
        }
        return nil
    }

    /// The calendar in UTC, regardless of the machine's time zone and language. A week begins on Sunday.
    private static let calendar = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        calendar.firstWeekday = 1
        return calendar
    }()

    /// The beginning of the year 1, and of the year 10,000: all dates that clients write are between them.
    private static let allDates = Date(timeIntervalSince1970: -62_135_596_800)...Date(timeIntervalSince1970: 253_402_300_800)

    /// The range of dates, in UTC, from the first (inclusive) to the second (exclusive), within the years 1 to 9999.
    ///
    /// - Parameter number: How many units, 1 to 10,000. The default, 7, is for operators such as `Last7Days`, which take no number.
    package func range(_ number: Int = 7, now: Date = Date()) -> (from: Date?, to: Date?) {
        let (from, to) = unbounded(number, now)
        func bounded(_ date: Date) -> Date { min(max(date, Self.allDates.lowerBound), Self.allDates.upperBound) }
        return (from.map(bounded), to.map(bounded))
    }

    private func unbounded(_ number: Int, _ now: Date) -> (from: Date?, to: Date?) {
        let calendar = Self.calendar
        let number = max(1, min(number, 10_000))
        func start(_ component: Calendar.Component, _ date: Date) -> Date {
            calendar.dateInterval(of: component, for: date)?.start ?? date
        }
        func moved(_ component: Calendar.Component, _ by: Int, _ date: Date) -> Date {
            calendar.date(byAdding: component, value: by, to: date) ?? date
        }
        switch kind {
        case .whole(let component, let offset):
            let from = moved(component, offset, start(component, now))
            return (from, moved(component, 1, from))
        case .last(let component):
            let day = component == .hour || component == .minute ? component : .day
            return (start(day, moved(component, -number, now)), now)
        case .next(let component):
            let day = component == .hour || component == .minute ? component : .day
            return (now, moved(day, 1, start(day, moved(component, number, now))))
        case .older(let component): return (nil, moved(component, -number, now))
        }
    }

    /// The day of a date, from midnight to midnight in UTC.
    package static func day(of date: Date) -> (from: Date, to: Date) {
        let from = Date(timeIntervalSince1970: (date.timeIntervalSince1970 / 86_400).rounded(.down) * 86_400)
        return (from, from.addingTimeInterval(86_400))
    }
}
