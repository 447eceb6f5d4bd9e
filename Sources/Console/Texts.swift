import Foundation
import JSON
import Model

/// The texts of one language, and its formats of numbers and dates.
///
/// Each language has one file of messages. Keys with a colon are for values that the service defines, such as `event:key changed`.
struct Texts: Sendable {
    let language: String
    let messages: [String: String]
    /// The English texts, for names that a language does not translate.
    let english: [String: String]
    /// Patterns for messages of errors, and for subjects of requests for approval, that contain values.
    let errors: MessagePatterns
    let subjects: MessagePatterns
    /// Patterns for reports of routers and the service about mailboxes and e-mails.
    let reports: MessagePatterns
    /// Patterns for error messages that many records share, which name no single record.
    let manyErrors: MessagePatterns
    /// Patterns for the details of security events and alerts (``DetailSentences``), and for the doctor's findings.
    let facts: MessagePatterns
    let findings: MessagePatterns

    init(language: String, messages: [String: String], english: [String: String]) {
        self.language = language
        self.messages = messages
        self.english = english
        errors = MessagePatterns(messages, prefix: "error:")
        reports = MessagePatterns(messages, prefix: "report:")
        subjects = MessagePatterns(messages, prefix: "subject:")
        manyErrors = MessagePatterns(messages, prefix: "manyError:")
        facts = MessagePatterns(messages, prefix: "fact:")
        findings = MessagePatterns(messages, prefix: "finding:")
    }

    subscript(_ key: String) -> String { messages[key] ?? english[key] ?? key }

    /// The text of a key that may be missing.
    func optional(_ key: String) -> String? { messages[key] ?? english[key] }

    /// A text with values for `{name}`.
    func text(_ key: String, _ values: [String: String]) -> String { filled(self[key], values) }

    /// A text with values for `{name}`.
    func filled(_ text: String, _ values: [String: String]) -> String { filled(text) { values[$0] } }

    /// A text with what `shown` returns for the value of each `{name}` and `{name:form}`. The form says how the value is shown; nil
    /// for `{name}`.
    func filled(_ text: String, _ values: [String: String], _ shown: (_ value: String, _ form: String?) -> String) -> String {
        filled(text) { placeholder in
            let parts = placeholder.split(separator: ":", maxSplits: 1).map(String.init)
            return parts.first.flatMap { values[$0] }.map { shown($0, parts.count > 1 ? parts[1] : nil) }
        }
    }

    /// A text with what `value` returns for each `{name}`.
    func filled(_ text: String, _ value: (String) -> String?) -> String {
        var rest = Substring(text)
        var result = ""
        while let open = rest.firstIndex(of: "{") {
            result += rest[..<open]
            rest = rest[rest.index(after: open)...]
            guard let close = rest.firstIndex(of: "}") else { break }
            let name = String(rest[..<close])
            result += value(name) ?? "{\(name)}"
            rest = rest[rest.index(after: close)...]
        }
        return result + rest
    }

    /// A text for a number: `KEY.one` or `KEY.other`, where `{n}` is the number.
    func count(_ key: String, _ number: Int, _ values: [String: String] = [:]) -> String {
        let isOne = number == 1 || number == 0 && self["format:zero"] == "one"
        return text(isOne ? "\(key).one" : "\(key).other", values.merging(["n": self.number(number)]) { own, _ in own })
    }

    /// A value after its label, with the language's colon.
    func labelled(_ label: String, _ value: String) -> String { "\(label)\(self["format:colon"]) \(value)" }

    // MARK: Numbers

    func number(_ number: Int) -> String {
        let digits = Array("\(number.magnitude)")
        var text = number < 0 ? "-" : ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index).isMultiple(of: 3) { text += self["format:group"] }
            text.append(digit)
        }
        return text
    }

    func decimal(_ number: Double, digits: Int) -> String {
        String(format: "%.\(digits)f", number).replacing(".", with: self["format:decimal"])
    }

    func seconds(_ seconds: Double) -> String {
        guard seconds >= Self.shortest else { return text("secondsLess", ["n": decimal(Self.shortest, digits: 2)]) }
        return text("seconds", ["n": decimal(seconds, digits: seconds < 10 ? 2 : 0)])
    }

    /// The shortest duration that is shown, in seconds.
    private static let shortest = 0.01

    /// A size in the units of the limits, such as "25 bytes", "12 kB" or "1.5 MB".
    func size(bytes: Int) -> String {
        if bytes < 1_000 { return count("bytes", bytes) }
        if bytes < 999_500 { return text("kilobytes", ["n": number((bytes + 500) / 1_000)]) }
        return text("megabytes", ["n": decimal(Double(bytes) / 1_000_000, digits: 1)])
    }

    /// A span of time in its largest whole unit up to hours, such as "90 minutes".
    func span(seconds: Int) -> String {
        guard seconds > 0 else { return text("seconds", ["n": "0"]) }
        guard seconds.isMultiple(of: 60) else { return self.seconds(Double(seconds)) }
        return seconds.isMultiple(of: 3_600) ? count("hours", seconds / 3_600) : count("minutes", seconds / 60)
    }

    // MARK: Dates

    func day(_ date: Date) -> String { moment(date, "format:day") }
    /// A moment in UTC, to the second.
    func moment(_ date: Date) -> String { moment(date, "format:moment") }

    private func moment(_ date: Date, _ format: String) -> String {
        let parts = CivilMoment(date)
        let months = self["format:months"].split(separator: " ").map(String.init)
        return text(
            format,
            [
                "year": Self.padded(parts.year, to: 4), "day": "\(parts.day)",
                "month": months.indices.contains(parts.month - 1) ? months[parts.month - 1] : "",
                "time": [parts.hour, parts.minute, parts.second].map { Self.padded($0, to: 2) }.joined(separator: ":"),
            ])
    }

    private static func padded(_ number: Int, to digits: Int) -> String {
        String(repeating: "0", count: max(0, digits - "\(number)".count)) + "\(number)"
    }

    /// A time relative to now, such as "3 minutes ago".
    func ago(_ date: Date, now: Date = Date()) -> String {
        let seconds = Int(now.timeIntervalSince(date))
        let units = [(86_400 * 365, "years"), (86_400 * 30, "months"), (86_400, "days"), (3_600, "hours"), (60, "minutes")]
        guard let (length, unit) = units.first(where: { abs(seconds) >= $0.0 }) else {
            return self[seconds >= -1 ? "ago:now" : "in:now"]
        }
        return count("\(seconds < 0 ? "in" : "ago"):\(unit)", abs(seconds) / length)
    }

    /// The values of the template `time`: a moment to the second.
    func time(_ date: Date) -> [String: Any] { ["iso": ISO8601.text(date), "shown": moment(date), "as": "moment"] }
    /// The day of a moment.
    func dayTime(_ date: Date) -> [String: Any] { ["iso": ISO8601.text(date), "shown": day(date), "as": "day"] }
    /// The moment, relative to now.
    func timeAgo(_ date: Date) -> [String: Any] { ["iso": ISO8601.text(date), "shown": ago(date), "as": "ago"] }

    // MARK: Names of values from elsewhere

    func label(_ attribute: AttributeDefinition, of entity: EntityDefinition) -> String {
        optional("attribute:\(entity.logicalName).\(attribute.logicalName)") ?? optional("attribute:\(attribute.logicalName)")
            ?? attribute.displayName
    }

    /// The label of an option, in this language if it is translated.
    func option(_ value: Int64, of attribute: AttributeDefinition) -> String {
        guard let english = attribute.type.options?.options.first(where: { $0.value == value })?.label else { return "\(value)" }
        return optional("option:\(english)") ?? english
    }

    /// A value in a readable form; empty for none.
    func shown(_ value: AttributeValue, _ attribute: AttributeDefinition) -> String {
        switch value {
        case .null, .bytes: ""
        case .text(let text), .decimal(let text): text
        case .int(let number): attribute.type.options == nil ? "\(number)" : option(number, of: attribute)
        case .bool(let flag): self[flag ? "yes" : "no"]
        case .date(let date): moment(date)
        case .id(let id): id.text
        }
    }
}

/// A value for a template, or false. If a value were missing, the template would use a value with the same name from the enclosing
/// values.
func orFalse(_ value: Any?) -> Any { value ?? false }
