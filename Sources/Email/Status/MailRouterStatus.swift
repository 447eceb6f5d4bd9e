package import Foundation
import Model
import PostgresClient
import Records
import Tenancy

/// A router that requested work recently.
package struct MailRouterStatus: Sendable {
    package let name: String
    package let startedOn: Date
    package let seenOn: Date
    /// How many mailboxes the router waits for on their servers.
    package let watching: Int
}
