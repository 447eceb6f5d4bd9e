import Foundation

/// Dates of mail (RFC 5322 section 3.3 and 4.3), and those of ISO 8601, which some programs write.
enum MailDate {
    /// - Returns: Nil for an invalid date.
    static func date(_ field: ArraySlice<UInt8>?) -> Date? {
        guard let field else { return nil }
        let text = withoutComments(String(decoding: field.prefix(300), as: UTF8.self))
        if let date = isoDate(text) { return date }
        var words = text.split { $0 == " " || $0 == "\t" || $0 == "," || $0 == "-" && !text.contains(":-") }.map(String.init)
        if let first = words.first, first.first?.isLetter == true, month(first) == nil || words.count > 4 && Int(words[1]) != nil {
            words.removeFirst()
        }
        guard let time = words.firstIndex(where: { $0.contains(":") }), words.count > 3 else { return nil }
        let clock = words[time].split(separator: ":").map { Int($0.prefix(2)) }
        var day: Int?
        var month: Int?
        var year: Int?
        for (index, word) in words.enumerated() where index != time {
            if month == nil, let number = Self.month(word) {
                month = number
            } else if let number = Int(word), !word.hasPrefix("+"), !word.hasPrefix("-") {
                if day == nil, number <= 31, word.count <= 2 { day = number } else if year == nil { year = number }
            }
        }
        guard clock.count >= 2, let hour = clock[0], let minute = clock[1], let day, let month, var year else { return nil }
        // RFC 5322 section 4.3.
        if year < 50 { year += 2_000 } else if year < 1_000 { year += 1_900 }
        guard (1...31).contains(day), (1_900...9_999).contains(year), (0...23).contains(hour), (0...59).contains(minute) else {
            return nil
        }
        let second = clock.count > 2 ? clock[2] ?? 0 : 0
        let components = DateComponents(year: year, month: month, day: day, hour: hour, minute: minute, second: min(second, 60))
        return utc.date(from: components)?.addingTimeInterval(-zone(text, words[(time + 1)...]))
    }

    /// A date such as `2026-11-26T10:00:00Z`; one without a zone is in UTC.
    private static func isoDate(_ text: String) -> Date? {
        guard text.drop(while: \.isWhitespace).dropFirst(4).first == "-" else { return nil }
        let pattern = #/\s*(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?\s*([Zz]|[+-]\d\d:?\d\d)?\s*/#
        guard let match = text.wholeMatch(of: pattern)?.output, let year = Int(match.1), let month = Int(match.2),
            let day = Int(match.3),
            let hour = Int(match.4), let minute = Int(match.5), (1_900...9_999).contains(year), (1...12).contains(month),
            (1...31).contains(day), hour <= 23, minute <= 59
        else { return nil }
        let second = match.6.flatMap { Int($0) } ?? 0
        let components = DateComponents(year: year, month: month, day: day, hour: hour, minute: minute, second: min(second, 60))
        return utc.date(from: components)?.addingTimeInterval(-zone("", match.7.map { [String($0)] } ?? []))
    }

    private static func withoutComments(_ text: String) -> String {
        var depth = 0
        return text.filter { character in
            if character == "(" { depth += 1 }
            defer { if character == ")", depth > 0 { depth -= 1 } }
            return depth == 0
        }
    }

    private static func month(_ word: String) -> Int? {
        guard word.count >= 3 else { return nil }
        return ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"].firstIndex(
            of: word.prefix(3).lowercased()
        ).map { $0 + 1 }
    }

    /// Seconds east of Greenwich.
    private static func zone(_ text: String, _ words: ArraySlice<String>) -> Double {
        for word in words {
            if word.hasPrefix("+") || word.hasPrefix("-"), let number = Int(word.dropFirst().filter { $0 != ":" }.prefix(4)) {
                let seconds = Double((number / 100 * 60 + number % 100) * 60)
                return word.hasPrefix("-") ? -seconds : seconds
            }
            if let hours = ["EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7][word] {
                return Double(hours) * 3_600
            }
        }
        return 0
    }

    private static let utc = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        return calendar
    }()
}
