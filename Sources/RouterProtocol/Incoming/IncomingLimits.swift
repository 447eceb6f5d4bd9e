/// The limits of an incoming e-mail's record. If a message exceeds a limit, routers attach the message itself or its header.
package enum IncomingLimits {
    /// The longest subject, in UTF-16 units.
    package static let subjectUnits = 800
    /// How many parties an e-mail has at most: sender and recipients together.
    package static let parties = 10_000
    /// The longest text that a router sends, in bytes.
    package static let bodyBytes = 2 << 20
    /// The largest request of a router, in bytes. The service accepts 16 MiB.
    package static let requestBytes = 15 << 20
}
