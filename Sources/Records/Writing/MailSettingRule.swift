import Foundation
package import Model

/// Rules for settings of mailboxes and profiles, besides their types, so that a router can use them.
package enum MailSettingRule {
    /// - Throws: ``FieldsealError`` naming the attribute.
    package static func check(_ text: String, _ attribute: AttributeDefinition) throws(FieldsealError) {
        switch attribute.logicalName {
        case "incomingserverlocation", "outgoingserverlocation": try checkServer(text, attribute)
        case "undeliverablefolder": try checkFolder(text, attribute)
        default: break
        }
    }

    /// Whether a byte may be part of a host name or an IP address.
    private static func isHostCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: ".-_:".utf8.contains(byte)
        }
    }

    private static func checkServer(_ text: String, _ attribute: AttributeDefinition) throws(FieldsealError) {
        let colons = text.utf8.count { $0 == UInt8(ascii: ":") }
        guard text.utf8.allSatisfy(isHostCharacter), colons != 1, text.utf8.contains(where: { $0 != UInt8(ascii: ".") }) else {
            throw FieldsealError(
                .invalidArgument,
                "\(attribute.logicalName) takes the name or the address of a host, such as imap.example.com, without a scheme, a user, "
                    + "a port or blanks. The port is an attribute of its own.")
        }
    }

    private static func checkFolder(_ text: String, _ attribute: AttributeDefinition) throws(FieldsealError) {
        guard text.trimmingCharacters(in: .whitespaces).uppercased() != "INBOX" else {
            throw FieldsealError(
                .invalidArgument,
                "\(attribute.logicalName) can't be the inbox, because the router would find each e-mail that it moved there, and "
                    + "move it again."
            )
        }
        guard text.isOneLine else {
            throw FieldsealError(.invalidArgument, "\(attribute.logicalName) takes one line, without control characters.")
        }
    }
}
