import CurlClient
import Foundation
import RouterProtocol

/// The service's address, the router's credentials, and the limits of the router's work.
package struct RouterConfiguration: Sendable {
    /// The service's address, without a trailing slash.
    package var service: String
    package var organization: String
    package var clientID: String
    package var secret: String
    /// The file with CA certificates in PEM for the service; nil for the system's.
    package var serviceAuthorityFile: String?
    /// The file with CA certificates in PEM for mail servers; nil for the system's.
    package var mailAuthorityFile: String?
    /// The file with the CA certificates of a development deployment's test mail servers. Used if ``mailAuthorityFile`` is nil and
    /// this file exists.
    package var laterMailAuthorityFile: String?
    /// How many mailboxes are processed at a time.
    package var workers = 4
    /// Seconds between two turns at a polled mailbox.
    package var interval = 300
    /// Seconds for which a request for work waits at the service.
    package var wait = RouterLimits.waitSeconds
    /// How many connections wait for notifications of IMAP servers (IDLE); 0 to poll every mailbox.
    package var idleConnections = 500
    /// Seconds after which IDLE is issued again; at most 1,740.
    package var idleRefresh = 600
    /// Seconds between two attempts while the service is unavailable. The first pause is doubled each time, up to the longest.
    static let pauses = (first: 1.0, longest: 60.0)
    /// How many messages one turn processes at most, so that a large mailbox does not hold up other mailboxes.
    package var turnLimit = RouterConfiguration.defaultTurnLimit
    package static let defaultTurnLimit = 2_000
    /// A turn ends before ``turnLimit`` once it has processed this many messages and taken this many seconds.
    static let fairTurn = (messages: 500, seconds: 10)
    /// The largest message in bytes.
    package var messageLimit = 50 << 20

    package init(service: String, organization: String, clientID: String, secret: String) {
        (self.service, self.organization, self.clientID, self.secret) = (service, organization, clientID, secret)
    }
}
