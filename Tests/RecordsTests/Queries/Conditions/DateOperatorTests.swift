import Foundation
import JSON
import Testing

@testable import Records

@Suite("Conditions that compare dates with the present time")
struct DateOperatorTests {
    /// The present time in these tests, which is a Wednesday.
    private static let now = "2026-02-25T13:14:15Z"

    private func expect(_ name: String, _ number: Int, at now: String, from: String?, to: String?) throws {
        let range = try #require(DateOperator(name)).range(number, now: try #require(ISO8601.date(now)))
        #expect(range.from.map { ISO8601.text($0) } == from, "\(name) at \(now)")
        #expect(range.to.map { ISO8601.text($0) } == to, "\(name) at \(now)")
    }

    @Test(
        "Conditions for whole days, weeks, months and years begin and end at midnight in UTC",
        arguments: [
            ("Today", "2026-02-25", "2026-02-26"), ("yesterday", "2026-02-24", "2026-02-25"),
            ("tomorrow", "2026-02-26", "2026-02-27"),
            ("last-week", "2026-02-15", "2026-02-22"), ("ThisWeek", "2026-02-22", "2026-03-01"),
            ("next-week", "2026-03-01", "2026-03-08"), ("last-month", "2026-01-01", "2026-02-01"),
            ("this-month", "2026-02-01", "2026-03-01"), ("NextMonth", "2026-03-01", "2026-04-01"),
            ("LastYear", "2025-01-01", "2026-01-01"), ("ThisYear", "2026-01-01", "2027-01-01"),
            ("next-year", "2027-01-01", "2028-01-01"),
        ])
    func whole(name: String, from: String, to: String) throws {
        try expect(name, 7, at: Self.now, from: "\(from)T00:00:00Z", to: "\(to)T00:00:00Z")
    }

    @Test(
        "Conditions for the last units begin at midnight or at a full hour, and end now",
        arguments: [
            ("last-seven-days", 7, "2026-02-18T00:00:00Z"), ("Last7Days", 7, "2026-02-18T00:00:00Z"),
            ("last-x-hours", 3, "2026-02-25T10:00:00Z"), ("LastXDays", 2, "2026-02-23T00:00:00Z"),
            ("last-x-weeks", 2, "2026-02-11T00:00:00Z"), ("LastXMonths", 3, "2025-11-25T00:00:00Z"),
            ("last-x-years", 2, "2024-02-25T00:00:00Z"), ("LastXHours", 14, "2026-02-24T23:00:00Z"),
        ])
    func last(name: String, number: Int, from: String) throws {
        try expect(name, number, at: Self.now, from: from, to: Self.now)
    }

    @Test(
        "Conditions for the next units begin now, and end with the end of a day or of an hour",
        arguments: [
            ("next-seven-days", 7, "2026-03-05T00:00:00Z"), ("Next7Days", 7, "2026-03-05T00:00:00Z"),
            ("NextXHours", 1, "2026-02-25T15:00:00Z"), ("next-x-days", 3, "2026-03-01T00:00:00Z"),
            ("NextXWeeks", 2, "2026-03-12T00:00:00Z"), ("next-x-months", 1, "2026-03-26T00:00:00Z"),
            ("NextXYears", 2, "2028-02-26T00:00:00Z"), ("next-x-hours", 10, "2026-02-26T00:00:00Z"),
        ])
    func next(name: String, number: Int, to: String) throws {
        try expect(name, number, at: Self.now, from: Self.now, to: to)
    }

    @Test(
        "Conditions for older dates have no beginning, and end exactly that long before now",
        arguments: [
            ("OlderThanXMinutes", 15, "2026-02-25T12:59:15Z"), ("olderthan-x-hours", 14, "2026-02-24T23:14:15Z"),
            ("OlderThanXDays", 25, "2026-01-31T13:14:15Z"), ("olderthan-x-weeks", 1, "2026-02-18T13:14:15Z"),
            ("OlderThanXMonths", 2, "2025-12-25T13:14:15Z"), ("olderthan-x-years", 6, "2020-02-25T13:14:15Z"),
        ])
    func older(name: String, number: Int, to: String) throws {
        try expect(name, number, at: Self.now, from: nil, to: to)
    }

    @Test(
        "A week begins on Sunday at midnight and ends before the next Sunday",
        arguments: [
            ("2026-03-01T00:00:00Z", "2026-03-01"), ("2026-03-07T23:59:59Z", "2026-03-01"), ("2026-02-28T23:59:59Z", "2026-02-22"),
            ("2026-03-02T00:00:00Z", "2026-03-01"), ("2027-01-01T00:00:00Z", "2026-12-27"), ("2028-02-29T12:00:00Z", "2028-02-27"),
        ])
    func week(now: String, sunday: String) throws {
        let sunday = try #require(ISO8601.date("\(sunday)T00:00:00Z"))
        let sundays = (-1...2).map { ISO8601.text(sunday.addingTimeInterval(Double($0) * 7 * 86_400)) }
        for (name, place) in [("LastWeek", 0), ("this-week", 1), ("NextWeek", 2)] {
            try expect(name, 7, at: now, from: sundays[place], to: sundays[place + 1])
        }
    }

    @Test(
        "Conditions are right at the ends of months and years, and on leap days",
        arguments: [
            ("ThisMonth", 7, "2026-12-31T23:59:59Z", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("NextMonth", 7, "2026-12-31T23:59:59Z", "2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z"),
            ("LastMonth", 7, "2026-03-31T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"),
            ("LastYear", 7, "2026-01-01T00:00:00Z", "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
            ("ThisYear", 7, "2026-12-31T23:59:59Z", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("Tomorrow", 7, "2028-02-28T23:59:59Z", "2028-02-29T00:00:00Z", "2028-03-01T00:00:00Z"),
            ("Yesterday", 7, "2027-01-01T00:00:00Z", "2026-12-31T00:00:00Z", "2027-01-01T00:00:00Z"),
            // If a month does not have the day, the month's last day is used.
            ("LastXMonths", 1, "2026-03-31T12:00:00Z", "2026-02-28T00:00:00Z", "2026-03-31T12:00:00Z"),
            ("LastXYears", 1, "2028-02-29T12:00:00Z", "2027-02-28T00:00:00Z", "2028-02-29T12:00:00Z"),
            ("NextXMonths", 1, "2026-01-30T12:00:00Z", "2026-01-30T12:00:00Z", "2026-03-01T00:00:00Z"),
            ("NextXYears", 1, "2028-02-29T12:00:00Z", "2028-02-29T12:00:00Z", "2029-03-01T00:00:00Z"),
            ("NextXDays", 1, "2026-12-31T23:59:59Z", "2026-12-31T23:59:59Z", "2027-01-02T00:00:00Z"),
        ])
    func ends(name: String, number: Int, now: String, from: String, to: String) throws {
        try expect(name, number, at: now, from: from, to: to)
    }

    @Test("If the earlier month lacks the present day, the condition for older dates ends on that month's last day")
    func olderAtAnEnd() throws {
        try expect("OlderThanXMonths", 1, at: "2026-03-31T00:00:00Z", from: nil, to: "2026-02-28T00:00:00Z")
        try expect("OlderThanXYears", 1, at: "2028-02-29T01:02:03Z", from: nil, to: "2027-02-28T01:02:03Z")
    }

    @Test("The limits of a condition stay within the years 1 to 9999")
    func far() throws {
        try expect("LastXYears", 10_000, at: Self.now, from: "0001-01-01T00:00:00Z", to: Self.now)
        try expect("NextXYears", 10_000, at: Self.now, from: Self.now, to: "10000-01-01T00:00:00Z")
        try expect("OlderThanXYears", 10_000, at: Self.now, from: nil, to: "0001-01-01T00:00:00Z")
    }

    @Test("Only operators with an X take a number, and seven is only valid with days")
    func names() {
        #expect(DateOperator("last-x-weeks")?.takesNumber == true && DateOperator("last-week")?.takesNumber == false)
        #expect(DateOperator("Last7Days")?.takesNumber == false && DateOperator("Last7Weeks") == nil)
        #expect(DateOperator("last") == nil && DateOperator("") == nil)
    }

    @Test("A day is from midnight to midnight, also before 1970")
    func day() throws {
        let day = DateOperator.day(of: try #require(ISO8601.date("1969-12-31T23:59:59Z")))
        #expect(ISO8601.text(day.from) == "1969-12-31T00:00:00Z" && ISO8601.text(day.to) == "1970-01-01T00:00:00Z")
    }
}
