/// Notices within seconds that another server is the primary, also when the former one is paused or cut off and says nothing.
///
/// It asks the primary on a connection of its own. When the answer does not come, it looks for the server that takes writes, and
/// connections to a former primary are cut then, also those that wait.
public struct PrimaryWatch: Sendable {
    private let conninfo: String

    /// Between two questions.
    private static let interval = Duration.seconds(1)
    /// How long an answer may take.
    private static let patience = Duration.seconds(3)

    /// - Returns: Nil when the connection string names one host: there is nothing to choose then.
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

    /// Whether the primary answers in time.
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
