import NIOHTTP1

/// Checks that a request ends where its header says.
package enum RequestFraming {
    /// Whether an error means that it does not. ``ErrorMiddleware`` responds with 400 and closes the connection.
    package static func isBroken(_ error: any Error) -> Bool { error is HTTPParserError }
}
