/// What a record holds of an e-mail that came in. Routers keep the message itself, or its header, where this is too little.
public enum IncomingLimits {
    /// UTF-16 units of a subject.
    public static let subjectUnits = 200
    /// Sender and recipients together.
    public static let parties = 10_000
    /// Bytes of the text that a router sends.
    public static let bodyBytes = 2 << 20
    /// Bytes of one request of a router, which the service takes 16 MiB of.
    public static let requestBytes = 15 << 20
}
