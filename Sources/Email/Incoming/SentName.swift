import JSON

/// The name that a received e-mail has for its sender, if the sender is a user or a queue. `emailsendername` and the party have
/// that record's own name then. So this name is JSON in `activityadditionalparams`, beside ``ReplyAddresses``.
package enum SentName {
    private static let member = "FromName"

    /// The expression for the attribute.
    ///
    /// - Parameters:
    ///   - holder: The expression for the user or the queue; NULL for another sender.
    ///   - rest: The expression for the attribute without the name.
    static func sql(_ name: String, of sender: String, _ holder: String, besides rest: String) -> String {
        """
        CASE WHEN \(holder) IS NOT NULL AND lower(\(name)) <> lower(\(sender))
             THEN (coalesce(\(rest)::jsonb, '{}') || jsonb_build_object('\(member)', \(name)))::text ELSE \(rest) END
        """
    }

    /// - Parameter text: The record's attribute. A client may have written anything there.
    package static func read(_ text: String) -> String? {
        guard let value = try? JSONParser.parse(Array(text.utf8)), let name = value[member]?.string, !name.isEmpty else {
            return nil
        }
        return name
    }
}
