/// The codes of the service's errors that a router acts on. Names and values are those of the Web API.
package enum ServiceCode: String, CaseIterable, Sendable {
    /// The service does not implement what was requested, such as a way to retrieve credentials.
    case notImplemented = "0x80040219"
    case privilegeDenied = "0x80040220"
    /// The service lost its database connection during a commit.
    case outcomeUnknown = "0x80044150"
    /// This server can't unwrap the organization's key.
    case keySourceMissing = "0x8004852D"
    /// The organization has no key.
    case keyRequired = "0x8004852E"
    /// The deployment does not allow a connection without TLS.
    case sslRequired = "0x8005E201"
    /// The mailbox has no mail server, account or password.
    case profileNotAssociated = "0x8005E222"
    /// The mailbox's address is not approved.
    case profileInactive = "0x8005E228"
    /// Another router has leased the mailbox.
    case concurrencyVersionMismatch = "0x80060882"
}
