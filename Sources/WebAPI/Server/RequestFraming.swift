import NIOHTTP1

/// Whether a request ends where its header says.
public enum RequestFraming {
    /// Whether an error says that it does not. ``ErrorMiddleware`` answers with 400 and closes the connection.
    public static func isBroken(_ error: any Error) -> Bool { error is HTTPParserError }
}
