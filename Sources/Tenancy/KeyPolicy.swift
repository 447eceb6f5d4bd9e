package import CellCrypto
import Foundation
import Migrations
import PostgresClient

/// The deployment's rules for keys and passwords.
package struct KeyPolicy: Sendable {
    /// How many PBKDF2 iterations a new key has.
    package var iterations = DataKey.defaultIterations
    /// How the stored form of people's new passwords is computed.
    package var passwordDerivation = PasswordVerifier.Derivation.scrypt
    /// How often one organization's key may be changed within ``quotaInterval`` seconds; nil for no limit.
    package var changeQuota: Int?
    /// The interval of ``changeQuota``, in seconds.
    package var quotaInterval = 3_600
    /// How long a key change tries to get the lock that its switch needs, before it gives up.
    package var patience = Duration.seconds(60)
    /// How many failures of one account from one network lock the account for that network. Each failure is within
    /// ``failureInterval`` of the one before.
    package var failureLimit = 10
    /// How many failures from one network, of all accounts together, lock the network. Each failure is within ``failureInterval``
    /// of the one before.
    package var networkFailureLimit = 100
    /// How many failures of one account, from all networks together, delay its sign-ins. Each failure is within ``failureInterval``
    /// of the one before. These failures never lock the account, because attackers could then lock users out.
    package var accountFailures = 20
    /// How many wrong one-time passwords of one person, from all networks together, lock the one-time passwords of the person. Each
    /// is within ``failureInterval`` of the one before. Recovery codes are still accepted.
    package var codeFailureLimit = 10
    /// Seconds without a failure after which counting starts anew.
    package var failureInterval = 900
    /// Seconds after which a key should be changed: 365 days.
    package static let keyLifetime = 365 * 86_400.0

    package init() {}
}
