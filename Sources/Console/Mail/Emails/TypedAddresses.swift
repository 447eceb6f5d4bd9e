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

    /// The address in `Name <address>`.
    static func address(_ text: String) -> String {
        guard let open = text.lastIndex(of: "<"), let close = text.lastIndex(of: ">"), open < close else { return text }
        return String(text[text.index(after: open)..<close])
    }

    /// The name in `Name <address>`, without its quotes; nil if there is no name.
    static func name(_ text: String) -> String? {
        guard let open = text.lastIndex(of: "<"), text.contains(">") else { return nil }
        let name = text[..<open].trimmingCharacters(in: .whitespaces)
        guard name.count > 1, name.hasPrefix("\""), name.hasSuffix("\"") else { return name.isEmpty ? nil : name }
        var (plain, isEscaped) = ("", false)
        for character in name.dropFirst().dropLast() {
            if !isEscaped, character == "\\" {
                isEscaped = true
                continue
            }
            plain.append(character)
            isEscaped = false
        }
        return plain.isEmpty ? nil : plain
    }
}
