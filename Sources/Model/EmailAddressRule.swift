import MailFormat

/// E-mail addresses in records. The rules are the same as the router's for reading and sending.
package enum EmailAddressRule {
    /// Whether a text is exactly one address, without characters that end a line or a path in SMTP.
    package static func isOne(_ text: String) -> Bool { EmailAddress.isOne(text) }

    /// Whether a text is an address that is displayed as it is: no character of it is invisible or changes the direction of
    /// text.
    package static func isUsable(_ text: String) -> Bool { isOne(text) && text.isVisible }

    /// The addresses of a list, separated by `;` or `,`, each with its name. A group (RFC 5322 section 3.4) counts as its
    /// members; `undisclosed-recipients:;` has none.
    ///
    /// - Returns: Nil if the text can't be read without the risk of losing an address.
    package static func list(_ text: String) -> [(address: String, name: String?)]? { AddressList.exactly(text) }

    /// Whether a text has an address anywhere.
    package static func hasAddress(_ text: String) -> Bool { AddressList.hasAddress(text) }

    /// Whether a text names a sender: an address, or words such as `MAILER-DAEMON`.
    package static func isSender(_ text: String) -> Bool { isOne(text) || EmailAddress.isWords(text) }

    /// The lower-case forms by which an address is found: with A-labels and with U-labels in its domain.
    package static func forms(_ text: String) -> [String] { EmailAddress.forms(text) }
}
