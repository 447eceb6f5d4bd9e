import JSON
import Model

/// The addresses of Reply-To (RFC 5322 section 3.6.2). The record of an e-mail stores them as JSON in `activityadditionalparams`,
/// the attribute in which Dataverse stores other programs' data about an activity.
package enum ReplyAddresses {
    private static let member = "ReplyTo"

    /// How many addresses a record keeps.
    package static let limit = 20

    /// The JSON for the record of an incoming e-mail; nil if answers go to its sender.
    static func text(_ addresses: [String], from sender: String) -> String? {
        let usable = addresses.filter(EmailAddressRule.isUsable).prefix(limit)
        guard !usable.isEmpty, usable.map({ $0.lowercased() }) != [sender.lowercased()] else { return nil }
        let value = JSONValue.object([.init(member, .array(usable.map { .string($0) }))])
        return String(decoding: value.utf8, as: UTF8.self)
    }

    /// The addresses to which answers to an e-mail go instead of its sender; empty without a Reply-To.
    ///
    /// - Parameter text: The record's attribute. A client may have written any text to this attribute.
    package static func read(_ text: String) -> [String] {
        guard let value = try? JSONParser.parse(Array(text.utf8)), case .array(let addresses)? = value[member] else { return [] }
        return addresses.prefix(limit).compactMap(\.string).filter(EmailAddressRule.isUsable)
    }
}
