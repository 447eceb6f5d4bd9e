import CellCrypto
import Foundation
import JSON
import Model
import PostgresClient
import RouterProtocol
import Tenancy

/// A credential that may leave the service, or that is exchanged for an access token first.
struct ReleasedCredential: Sendable {
    var credential: Credential
    /// The cell that holds the password; nil to sign in without a password.
    let source: MailOAuthTokens.Source?
    let tenant: String?
}
