import Authentication
import Foundation
import HTTPTypes
import JSON
import Model

/// The entity tags of a conditional header (RFC 9110 section 13.1).
enum EntityTags {
    /// Whether a header's value names the tag, or any tag by `*`. The comparison is weak.
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
