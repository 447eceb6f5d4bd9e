public import Foundation

/// A `timestamptz` with PostgreSQL's full precision: whole microseconds, and infinity.
///
/// The type is used for data under a tag or hash. A date that was rounded, or that `Date` can't hold, would change the tag.
public struct PostgresMoment: Sendable, Equatable, Comparable, PostgresDecodable {
    /// Microseconds since 2000-01-01; the two extreme values are ±infinity.
    public let microseconds: Int64

    /// - Parameter microseconds: Microseconds since 2000-01-01, as PostgreSQL counts them.
    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// - Parameter seconds: Seconds since 1970-01-01 UTC. Fractions of a second are dropped.
    public init(seconds: Double) {
        microseconds = (Int64(seconds) - 946_684_800) * 1_000_000
    }

    /// - Parameter microseconds: Microseconds since 1970-01-01 UTC, as SQL computes them from a time.
    public init(microsecondsSince1970 microseconds: Int) {
        let (since2000, overflow) = Int64(microseconds).subtractingReportingOverflow(946_684_800_000_000)
        self.microseconds = overflow ? .min : since2000
    }

    /// - Parameters:
    ///   - bytes: The eight bytes of PostgreSQL's binary format.
    ///   - type: The OID of the value's type; nil is returned for all but `timestamptz`.
    public init?(postgresBinary bytes: UnsafeRawBufferPointer, type: UInt32) {
        guard type == PostgresType.timestamptz.rawValue, bytes.count == 8 else { return nil }
        microseconds = Int64(bigEndian: bytes.loadUnaligned(as: Int64.self))
    }

    /// Negative infinity, which is earlier than every date.
    public static let distantPast = PostgresMoment(microseconds: .min)

    /// Whether a moment is before another; negative infinity is before all others.
    public static func < (one: PostgresMoment, other: PostgresMoment) -> Bool { one.microseconds < other.microseconds }

    /// Whether this moment is less than `seconds` before `now`. False for a time in the future.
    public func isWithin(seconds: Int, before now: PostgresMoment) -> Bool {
        guard self <= now, microseconds != .min else { return false }
        let (age, overflow) = now.microseconds.subtractingReportingOverflow(microseconds)
        return !overflow && age < Int64(seconds) * 1_000_000
    }

    /// This time plus a number of seconds.
    public func adding(seconds: Int) -> PostgresMoment {
        let (sum, overflow) = microseconds.addingReportingOverflow(Int64(seconds) * 1_000_000)
        return PostgresMoment(microseconds: overflow ? .max : sum)
    }

    /// The beginning of the year 1, and the last second of the year 9999, because clients read years of four digits.
    private static let writable: ClosedRange<Int64> = -63_082_281_600_000_000...252_455_615_999_000_000

    /// The date, as closely as `Date` holds it. Infinity, and a date outside of the years 1 to 9999, becomes the nearest date
    /// within these years.
    public var date: Date {
        let moment = min(max(microseconds, Self.writable.lowerBound), Self.writable.upperBound)
        return Date(timeIntervalSinceReferenceDate: Double(moment - PostgresParameter.epochOffset) / 1e6)
    }
}
