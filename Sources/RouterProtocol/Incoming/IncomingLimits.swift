/// The limits of an incoming e-mail's record. If a message exceeds one, routers attach the message itself or its header.
package enum IncomingLimits {
    /// UTF-16 units of a subject.
    package static let subjectUnits = 800
    /// How many parties an e-mail has at most: sender and recipients together.
    package static let parties = 10_000
    /// Bytes of the text that a router sends.
    package static let bodyBytes = 2 << 20
    /// The bytes of one request of a router. The service accepts 16 MiB.
    package static let requestBytes = 15 << 20
}
