/// Detects within seconds that another server is the primary, even if the former one is paused or isolated and does not respond.
///
/// It queries the primary on a separate connection. If no response comes, it looks for the server that accepts writes. Then
/// connections to a former primary are closed, even those that wait.
public struct PrimaryWatch: Sendable {
    private let conninfo: String

    /// The time between two queries.
    private static let interval = Duration.seconds(1)
    /// The time limit of a response.
    private static let patience = Duration.seconds(3)

    /// - Returns: Nil when the connection string names one host, because there is no choice.
    public init?(conninfo: String) {
        guard KnownServers.of(conninfo) != nil else { return nil }
        self.conninfo = conninfo
    }

    /// Watches until the task is cancelled.
    public func run() async {
        var connection: PostgresConnection?
        while !Task.isCancelled {
            let isThere = if let connection { await answers(connection) } else { false }
            if !isThere {
                await connection?.close()
                connection = try? await PostgresConnection.connect(conninfo, applicationName: "fieldseal watch")
            }
            try? await Task.sleep(for: Self.interval)
        }
        await connection?.close()
    }

    /// Whether the primary responds in time.
    private func answers(_ connection: PostgresConnection) async -> Bool {
        let timer = Task {
            try await Task.sleep(for: Self.patience)
            connection.cut()
        }
        defer { timer.cancel() }
        return
            (try? await connection.run { connection in
                try connection.execute("SELECT 1")
                return !connection.isReadOnly
            }) ?? false
    }
}
