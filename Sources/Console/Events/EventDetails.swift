import Foundation

/// The details of security events in the reader's language, if they are known: `ada: sessions ended`, `ada, Basic User`.
enum EventDetails {
    static func shown(_ details: String, _ texts: Texts) -> String {
        if let text = texts.optional("detail:\(details)") ?? texts.optional("role:\(details)") { return text }
        let words = details.split(separator: " ")
        if words.count == 2, words[1] == "cells", let count = Int(words[0].filter(\.isNumber)) {
            return texts.count("values", count)
        }
        guard let comma = details.range(of: ", ", options: .backwards) ?? details.range(of: ": ", options: .backwards) else {
            return details
        }
        let (name, rest) = (details[..<comma.lowerBound], String(details[comma.upperBound...]))
        if let text = texts.optional("role:\(rest)") ?? texts.optional("detail:\(rest)") {
            return "\(name)\(details[comma])\(text)"
        }
        let roles = rest.components(separatedBy: " to ").compactMap { texts.optional("role:\($0)") }
        return roles.count == 2 ? "\(name)\(details[comma])\(roles[0]) → \(roles[1])" : details
    }
}
