package import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
import RouterProtocol
import Tenancy

/// The credential with which a router signs in to a mail server.
package struct Credential: Sendable {
    package let userName: String?
    /// The password. The password's memory is wiped when the last reference to it is released. Nil to sign in without a password.
    package internal(set) var password: SecretBytes?
    package let server: String
    package let port: Int
    package let usesTLS: Bool
    /// A value of ``AuthenticationProtocol``.
    package let authentication: Int
    /// The protocol of incoming mail: 1 is POP3, 4 is IMAP. Outgoing mail uses SMTP.
    package let serverType: Int
}
