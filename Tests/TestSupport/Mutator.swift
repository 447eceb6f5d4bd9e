/// Changes texts at random. The same seed gives the same changes (xorshift64*).
package struct Mutator {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed | 1
    }

    /// A random number from 0 up to, but not including, the limit.
    package mutating func below(_ limit: Int) -> Int {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return Int((state &* 0x2545_F491_4F6C_DD1D) >> 33) % max(1, limit)
    }

    private static let tokens = [
        "'", "\"", "(", ")", "[", "]", "<", ">", "/", ",", ";", ":", "@", "$", "%", "%00", "\0", "\\", " and ", " or ", "not ",
        "null",
        "password", "-1", "9999999999999999999", "2026-13-45", "\u{2028}", "😀", "{", "}", "&", "=", "*", "--", "<!", "]]>", "\r\n",
        "any(", "all(x:",
    ]

    /// Makes one to four changes of a text: each change inserts a token or a part of `other`, or removes or repeats a part of the
    /// text.
    package mutating func mutate(_ text: String, _ other: String) -> String {
        var scalars = Array(text.unicodeScalars)
        for _ in 0...below(4) {
            let at = below(scalars.count + 1)
            let end = min(scalars.count, at + below(12))
            switch below(6) {
            case 0, 1: scalars.insert(contentsOf: Self.tokens[below(Self.tokens.count)].unicodeScalars, at: at)
            case 2: scalars.removeSubrange(at..<end)
            case 3: scalars.insert(contentsOf: scalars[at..<end], at: at)
            case 4:
                let source = Array(other.unicodeScalars)
                let from = below(source.count)
                scalars.insert(contentsOf: source[from..<min(source.count, from + below(30))], at: at)
            default:
                let token = Self.tokens[below(Self.tokens.count)]
                scalars.insert(
                    contentsOf: String(repeating: token, count: 1 + below(below(40) == 0 ? 3_000 : 20)).unicodeScalars, at: at)
            }
            if scalars.count > 20_000 { scalars.removeLast(scalars.count - 20_000) }
        }
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}
