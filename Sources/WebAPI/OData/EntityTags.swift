import Authentication
import Foundation
import HTTPTypes
import JSON
import Model

/// The entity tags of a conditional header (RFC 9110 section 13.1).
enum EntityTags {
    /// The version that a record's tag names; nil for other texts.
    static func version(_ tag: String) -> Int64? {
        guard tag.hasPrefix("W/\""), tag.hasSuffix("\""), tag.utf8.count > 4 else { return nil }
        return Int64(tag.dropFirst(3).dropLast())
    }

    /// Whether a header's value names the tag, or any tag by `*`. A strong tag equals a weak tag with the same text (RFC 9110
    /// section 8.8.3.2).
    static func match(_ value: String?, _ tag: String) -> Bool {
        guard let value = value?.trimmed, value != "null" else { return false }
        if value == "*" { return true }
        let opaque = tag.drop { $0 != "\"" }
        return value.split(separator: ",").contains { item in
            let item = item.trimmed
            return (item.hasPrefix("W/") ? item.dropFirst(2) : item) == opaque
        }
    }
}
