/// Detects within seconds that another server is the primary, even if the former primary is paused or isolated and does not
/// respond.
///
/// The watch queries the primary on a separate connection. If the primary does not respond, the watch looks for the server that
/// accepts writes. Connections to a former primary are then closed, even while statements wait for a response on them.
///
/// A server that responds may be a former primary: another server may have been promoted while the former primary was not stopped.
/// Commits on a former primary then wait for a standby that no longer follows it. So the watch queries the other servers too.
public struct PrimaryWatch: Sendable {
    private let conninfo: String

    /// The time between two queries.
    private static let interval = Duration.seconds(1)
    /// The time between two queries of the other servers.
    private static let intervalOfOthers = Duration.seconds(5)
    /// The time limit of a response.
    private static let patience = Duration.seconds(3)

    /// - Returns: Nil when there is no choice of a primary: the connection string names one host without requesting the primary, or
    ///   it allows or requires other servers.
    public init?(conninfo: String) {
        guard KnownServers.of(conninfo) != nil else { return nil }
        self.conninfo = conninfo
    }

    /// Queries all servers once, so that the next connection goes to the primary, and not to a former one that the connection
    /// string names first.
    public func findPrimary() async {
        let connection = try? await PostgresConnection.connect(conninfo, applicationName: "fieldseal watch")
        await PostgresConnection.findNewerPrimary(conninfo)
        await connection?.close()
    }

    /// Watches until the task is cancelled.
    public func run() async {
        async let others: Void = watchOthers()
        await watchPrimary()
        await others
    }

    private func watchOthers() async {
        while !Task.isCancelled {
            await PostgresConnection.findNewerPrimary(conninfo)
            try? await Task.sleep(for: Self.intervalOfOthers)
        }
    }

    private func watchPrimary() async {
        var connection: PostgresConnection?
        while !Task.isCancelled {
            var isThere = false
            if let connection {
                isThere = await connection.responds(within: Self.patience) { connection in
                    try connection.execute("SELECT 1")
                    return !connection.isReadOnly
                }
            }
            if !isThere {
                await connection?.close()
                connection = try? await PostgresConnection.connect(conninfo, applicationName: "fieldseal watch")
            }
            try? await Task.sleep(for: Self.interval)
        }
        await connection?.close()
    }
}
