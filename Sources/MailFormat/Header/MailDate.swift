import Foundation

/// Parses dates of mail (RFC 5322 sections 3.3 and 4.3) and of ISO 8601, which some programs write.
enum MailDate {
    /// How many bytes of a field are parsed.
    private static let limit = 300

    /// - Returns: Nil for an invalid date.
    static func date(_ field: ArraySlice<UInt8>?) -> Date? {
        guard let field else { return nil }
        let text = withoutComments(EncodedWords.text(field.prefix(limit)))
        return isoDate(text) ?? WrittenDate(text).date
    }

    /// A date such as `2026-11-26T10:00:00Z`. A date without a zone is in UTC.
    private static func isoDate(_ text: String) -> Date? {
        guard text.drop(while: \.isWhitespace).dropFirst(4).first == "-" else { return nil }
        let pattern = #/\s*(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?\s*([Zz]|[+-]\d\d:?\d\d)?\s*/#
        guard let match = text.wholeMatch(of: pattern)?.output, let year = Int(match.1), let month = Int(match.2),
            let day = Int(match.3), let hour = Int(match.4), let minute = Int(match.5), hour <= 23, minute <= 59,
            let midnight = WrittenDate.midnight(year: year, month: month, day: day)
        else { return nil }
        let second = min(match.6.flatMap { Int($0) } ?? 0, 60)
        return midnight.addingTimeInterval(Double((hour * 60 + minute) * 60 + second) - zone(match.7))
    }

    /// The offset of a zone such as `+01:00` or `Z`, in seconds east of Greenwich.
    private static func zone(_ text: Substring?) -> Double {
        guard let text, let number = Int(text.dropFirst().filter { $0 != ":" }) else { return 0 }
        let seconds = Double((number / 100 * 60 + number % 100) * 60)
        return text.hasPrefix("-") ? -seconds : seconds
    }

    private static func withoutComments(_ text: String) -> String {
        var depth = 0
        return text.filter { character in
            if character == "(" { depth += 1 }
            defer { if character == ")", depth > 0 { depth -= 1 } }
            return depth == 0
        }
    }
}
