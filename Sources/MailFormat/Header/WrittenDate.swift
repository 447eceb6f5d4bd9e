import Foundation

/// A date as people and programs write it: day, name of the month, year, time and zone. The words around the time may have any
/// order.
struct WrittenDate {
    private enum Token: Equatable {
        case number(Int, digits: Int)
        case word(String)
        case sign(Character)
    }

    /// The farthest zone from Greenwich in hours. A greater number is not a zone.
    private static let farthestZone = 14
    private static let daySeconds = 86_400.0

    private let tokens: [Token]

    init(_ text: String) { tokens = Self.withoutBlanksAroundColons(Self.tokens(of: text)) }

    /// Removes blanks around the colons of a time (RFC 5322 section 4.3).
    private static func withoutBlanksAroundColons(_ tokens: [Token]) -> [Token] {
        let colon = Token.sign(":")
        return tokens.indices.filter { index in
            let isBeside = index > 0 && tokens[index - 1] == colon || index + 1 < tokens.count && tokens[index + 1] == colon
            return tokens[index] != .sign(" ") || !isBeside
        }.map { tokens[$0] }
    }

    /// The date; nil if the text is not a date.
    var date: Date? {
        guard let clock = clock else { return nil }
        var rest = Array(tokens[clock.end...])
        let hour = Self.takeHalf(&rest, clock.hour)
        let zone = Self.takeZone(&rest)
        guard (0...59).contains(clock.minute), hour <= 23 || hour == 24 && clock.minute == 0 && clock.second == 0,
            let midnight = Self.midnight(Array(tokens[..<clock.begin]) + [.sign(" ")] + rest, beforeClock: clock.begin)
        else { return nil }
        let seconds = (hour * 60 + clock.minute) * 60 + min(clock.second, 60)
        return midnight.addingTimeInterval(Double(seconds) - zone)
    }

    /// Numbers, words in lower case, and other characters. Consecutive blanks become one token.
    private static func tokens(of text: String) -> [Token] {
        var tokens: [Token] = []
        var rest = text.unicodeScalars[...]
        while let first = rest.first {
            if ("0"..."9").contains(first) {
                let digits = rest.prefix { ("0"..."9").contains($0) }
                rest = rest.dropFirst(digits.count)
                tokens.append(.number(Int(String(digits)) ?? .max, digits: digits.count))
            } else if first.properties.isAlphabetic {
                let letters = rest.prefix { $0.properties.isAlphabetic }
                rest = rest.dropFirst(letters.count)
                tokens.append(.word(String(letters).lowercased()))
            } else {
                rest = rest.dropFirst()
                let sign = Token.sign(first.properties.isWhitespace ? " " : Character(first))
                if sign != .sign(" ") || tokens.last != sign { tokens.append(sign) }
            }
        }
        return tokens
    }

    private typealias Clock = (hour: Int, minute: Int, second: Int, begin: Int, end: Int)

    /// The time, such as `10:15`, `10:15:30` or `10:15:30.5`. If no time has colons, a time such as `10.15.30`.
    private var clock: Clock? {
        clock(separator: ":", needsSeconds: false) ?? clock(separator: ".", needsSeconds: true)
    }

    private func clock(separator: Character, needsSeconds: Bool) -> Clock? {
        func part(_ index: Int) -> Int? {
            guard index < tokens.count, case .number(let number, 1...2) = tokens[index] else { return nil }
            return number
        }
        func hasSeparator(_ index: Int) -> Bool { index < tokens.count && tokens[index] == .sign(separator) }
        for begin in tokens.indices {
            guard let hour = part(begin), hasSeparator(begin + 1), let minute = part(begin + 2) else { continue }
            guard hasSeparator(begin + 3), let second = part(begin + 4) else {
                if needsSeconds { continue }
                return (hour, minute, 0, begin, begin + 3)
            }
            var end = begin + 5
            // Fractions of a second are skipped.
            if end + 1 < tokens.count, [.sign("."), .sign(",")].contains(tokens[end]), case .number = tokens[end + 1] { end += 2 }
            return (hour, minute, second, begin, end)
        }
        return nil
    }

    /// Removes `AM` or `PM` after the time, and returns the hour of the day.
    private static func takeHalf(_ rest: inout [Token], _ hour: Int) -> Int {
        guard let index = rest.firstIndex(where: { $0 != .sign(" ") }), case .word(let word) = rest[index], (1...12).contains(hour)
        else { return hour }
        switch word {
        case "am":
            rest.removeSubrange(...index)
            return hour % 12
        case "pm":
            rest.removeSubrange(...index)
            return hour % 12 + 12
        default: return hour
        }
    }

    /// Removes the zone: `+0100`, `-05:00`, `GMT+2`, or a name. Returns the zone in seconds east of Greenwich.
    private static func takeZone(_ rest: inout [Token]) -> Double {
        for index in rest.indices {
            if case .word(let word) = rest[index], let hours = names[word] {
                rest.remove(at: index)
                return hours * 3_600
            }
            guard [.sign("+"), .sign("-")].contains(rest[index]), index + 1 < rest.count, mayPrecedeZone(rest[..<index].last),
                case .number(let number, let digits) = rest[index + 1], digits <= 4
            else { continue }
            var (hours, minutes, end) = digits <= 2 ? (number, 0, index + 2) : (number / 100, number % 100, index + 2)
            if digits <= 2, end + 1 < rest.count, rest[end] == .sign(":"), case .number(let more, 2) = rest[end + 1] {
                (minutes, end) = (more, end + 2)
            }
            let isWest = rest[index] == .sign("-")
            rest.removeSubrange(index..<end)
            guard hours <= farthestZone, minutes <= 59 else { return 0 }
            return Double(hours * 60 + minutes) * (isWest ? -60 : 60)
        }
        return 0
    }

    /// Whether a sign after a token begins a zone. The signs in `26-Nov-2026` begin no zone.
    private static func mayPrecedeZone(_ token: Token?) -> Bool {
        switch token {
        case nil, .sign(" "), .word("gmt"), .word("utc"), .word("ut"), .word("z"): true
        default: false
        }
    }

    /// The offsets, in hours, of zones whose names have only one meaning. RFC 5322 section 4.3 treats any other name as UTC.
    private static let names: [String: Double] = [
        "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7, "akst": -9, "akdt": -8, "hst": -10,
        "wet": 0, "west": 1, "cet": 1, "cest": 2, "met": 1, "mest": 2, "mez": 1, "mesz": 2, "eet": 2, "eest": 3, "msk": 3,
        "jst": 9, "kst": 9, "hkt": 8, "aest": 10, "aedt": 11, "nzst": 12, "nzdt": 13,
    ]

    private static let months = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]

    /// Names of months in other European languages, if they begin differently than in English.
    private static let otherMonths = [
        "gen": 1, "ene": 1, "fev": 2, "fév": 2, "mär": 3, "mrt": 3, "avr": 4, "abr": 4, "mai": 5, "mag": 5, "maj": 5, "mei": 5,
        "juin": 6, "giu": 6, "juil": 7, "lug": 7, "aoû": 8, "aou": 8, "ago": 8, "set": 9, "okt": 10, "ott": 10, "out": 10,
        "déc": 12, "dez": 12, "dic": 12,
        "янв": 1, "яну": 1, "фев": 2, "мар": 3, "апр": 4, "май": 5, "мая": 5, "июн": 6, "юни": 6, "июл": 7, "юли": 7, "авг": 8,
        "сен": 9, "сеп": 9, "окт": 10, "ноя": 11, "ное": 11, "дек": 12,
        "січ": 1, "лют": 2, "бер": 3, "кві": 4, "тра": 5, "чер": 6, "лип": 7, "сер": 8, "вер": 9, "жов": 10, "лис": 11, "гру": 12,
        "ιαν": 1, "φεβ": 2, "μαρ": 3, "μάρ": 3, "απρ": 4, "μαΐ": 5, "μαι": 5, "ιουν": 6, "ιούν": 6, "ιουλ": 7, "ιούλ": 7,
        "αυγ": 8, "αύγ": 8, "σεπ": 9, "οκτ": 10, "νοε": 11, "δεκ": 12,
    ]

    private static func month(_ word: String) -> Int? {
        months.firstIndex(of: String(word.prefix(3))).map { $0 + 1 } ?? otherMonths[String(word.prefix(4))]
            ?? otherMonths[String(word.prefix(3))]
    }

    /// The beginning of a day in UTC. If several words are names of months, the last one counts, because an earlier `mar` means
    /// Tuesday, as in French.
    ///
    /// - Parameter beforeClock: How many tokens are before the time. Among these tokens, a word between day and year must be a
    ///   month, or the text is not a date.
    private static func midnight(_ tokens: [Token], beforeClock: Int) -> Date? {
        var day: Int?
        var month: Int?
        var year: (number: Int, digits: Int)?
        for (index, token) in tokens.enumerated() {
            switch token {
            case .number(let number, let digits):
                if day == nil, digits <= 2, number <= 31 { day = number } else if year == nil { year = (number, digits) }
            case .word(let word):
                guard word.count >= 3 else { continue }
                let found = Self.month(word)
                if found == nil, index < beforeClock, day != nil, year == nil { return nil }
                month = found ?? month
            case .sign: break
            }
        }
        guard month != nil else { return midnight(ofNumbers: tokens) }
        guard let day, let month, let year = year.flatMap(Self.year) else { return nil }
        return midnight(year: year, month: month, day: day)
    }

    /// The day of `27.11.2026`, and of `11/27/2026` or `27-11-2026` if one of the numbers is not a month.
    private static func midnight(ofNumbers tokens: [Token]) -> Date? {
        for index in tokens.indices.dropLast(4) {
            guard case .number(let first, 1...2) = tokens[index], case .sign(let sign) = tokens[index + 1],
                ["." as Character, "/", "-"].contains(sign), case .number(let second, 1...2) = tokens[index + 2],
                tokens[index + 3] == .sign(sign), case .number(let year, 4) = tokens[index + 4]
            else { continue }
            if sign == "." || first > 12 { return midnight(year: year, month: second, day: first) }
            return second > 12 || first == second ? midnight(year: year, month: first, day: second) : nil
        }
        return nil
    }

    /// The beginning of a day in UTC; nil for a day that its month does not have.
    static func midnight(year: Int, month: Int, day: Int) -> Date? {
        guard (1_900...9_999).contains(year), let date = utc.date(from: DateComponents(year: year, month: month, day: day)) else {
            return nil
        }
        let found = utc.dateComponents([.month, .day], from: date)
        return found.month == month && found.day == day ? date : nil
    }

    /// Completes years of two and three digits (RFC 5322 section 4.3).
    private static func year(_ year: (number: Int, digits: Int)) -> Int? {
        switch year.digits {
        case 4: year.number
        case 3: year.number + 1_900
        case 1, 2: year.number < 50 ? year.number + 2_000 : year.number + 1_900
        default: nil
        }
    }

    private static let utc = {
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = .gmt
        return calendar
    }()
}
