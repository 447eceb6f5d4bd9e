import Foundation

/// The addresses of a typed list.
enum TypedAddresses {
    /// The parts of a list: between commas, semicolons and line ends that are outside of quotes and angle brackets.
    static func split(_ text: String) -> [String] {
        var parts = [""]
        var (isQuoted, isInside, isEscaped) = (false, false, false)
        for character in text {
            let isEnd: Bool = character.isNewline || !isQuoted && !isInside && (character == "," || character == ";")
            if isEnd {
                parts.append("")
                (isQuoted, isInside, isEscaped) = (false, false, false)
                continue
            }
            parts[parts.count - 1].append(character)
            if isEscaped { isEscaped = false; continue }
            switch character {
            case "\\": isEscaped = isQuoted
            case "\"": isQuoted.toggle()
            case "<": isInside = !isQuoted
            case ">": isInside = isInside && isQuoted
            default: break
            }
        }
        return parts.map { $0.trimmingCharacters(in: .whitespaces) }.filter { !$0.isEmpty }
    }
}
