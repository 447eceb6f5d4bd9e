import Foundation
import JSON
import Testing

@testable import Records

@Suite("Conditions on dates")
struct DateOperatorTests {
    /// A Wednesday.
    private static let now = "2026-02-25T13:14:15Z"

    @Test(
        "A range of dates in UTC",
        arguments: [
            ("Today", 7, "2026-02-25T00:00:00Z", "2026-02-26T00:00:00Z"),
            ("yesterday", 7, "2026-02-24T00:00:00Z", "2026-02-25T00:00:00Z"),
            ("tomorrow", 7, "2026-02-26T00:00:00Z", "2026-02-27T00:00:00Z"),
            ("last-month", 7, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"),
            ("ThisYear", 7, "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"),
            ("LastXDays", 2, "2026-02-23T00:00:00Z", now),
            ("last-seven-days", 7, "2026-02-18T00:00:00Z", now),
            ("last-x-hours", 3, "2026-02-25T10:00:00Z", now),
            ("NextXHours", 1, now, "2026-02-25T15:00:00Z"),
            ("next-x-days", 3, now, "2026-03-01T00:00:00Z"),
        ])
    func range(name: String, number: Int, from: String, to: String) throws {
        let now = try #require(ISO8601.date(Self.now))
        let range = try #require(DateOperator(name)).range(number, now: now)
        #expect(range.from.map { ISO8601.text($0) } == from)
        #expect(range.to.map { ISO8601.text($0) } == to)
    }

    @Test("What is older has no beginning")
    func older() throws {
        let range = try #require(DateOperator("OlderThanXMonths")).range(1, now: try #require(ISO8601.date("2026-03-31T00:00:00Z")))
        #expect(range.from == nil && range.to.map { ISO8601.text($0) } == "2026-02-28T00:00:00Z")
    }

    @Test("Only operators with an X take a number, and seven counts days alone")
    func names() {
        #expect(DateOperator("last-x-weeks")?.takesNumber == true && DateOperator("last-week")?.takesNumber == false)
        #expect(DateOperator("Last7Days")?.takesNumber == false && DateOperator("Last7Weeks") == nil)
        #expect(DateOperator("last") == nil && DateOperator("") == nil)
    }

    @Test("A day is from midnight to midnight, before 1970 too")
    func day() throws {
        let day = DateOperator.day(of: try #require(ISO8601.date("1969-12-31T23:59:59Z")))
        #expect(ISO8601.text(day.from) == "1969-12-31T00:00:00Z" && ISO8601.text(day.to) == "1970-01-01T00:00:00Z")
    }
}
