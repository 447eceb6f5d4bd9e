import CLibPQ

// The choice of a server, if the connection string names several.
extension PostgresConnection {
    /// Connects to the server that accepts writes. If no server accepts writes, and the connection string allows it, connects to a
    /// read-only server.
    ///
    /// - Throws: ``PostgresError`` of the last host that was tried.
    func open(_ conninfo: String, among servers: KnownServers, applicationName: String) throws {
        var reader: (handle: OpaquePointer?, report: SessionSettings.Report)?
        var failure = PostgresError(kind: .connection, message: "the connection string names no host")
        for place in servers.order {
            handle = ConnectionParameters.attempt(conninfo, applicationName: applicationName, host: servers.hosts[place]).connect()
            do {
                let report = try begin()
                let (system, timeline): (String?, UInt32?) = report.isReadOnly ? (nil, nil) : identity()
                if report.isReadOnly {
                    failure = PostgresError(kind: .connection, message: "\(servers.hosts[place].name) is a standby, or read-only")
                    if reader == nil, servers.allowsReading { (reader, handle) = ((handle, report), nil) }
                } else if servers.admit(system, timeline, at: place) {
                    PQfinish(reader?.handle)
                    return take(report, servers, timeline)
                } else {
                    let name = servers.hosts[place].name
                    failure = PostgresError(
                        kind: .connection,
                        message:
                            "\(name) accepts writes on timeline \(timeline ?? 0), but another server was the primary on the newer "
                            + "timeline \(servers.newest). So \(name) is a former primary. Stop \(name), and make it a standby")
                }
            } catch let error as PostgresError {
                failure = error
            }
            PQfinish(handle)
            handle = nil
        }
        guard let reader else { throw failure }
        handle = reader.handle
        take(reader.report, servers, nil)
    }

    /// Looks for a newer primary, even though the former one still responds. If there is a newer primary, closes the connections to
    /// the former one.
    static func findNewerPrimary(_ conninfo: String) async {
        guard let servers = KnownServers.of(conninfo) else { return }
        await PostgresConnection().findNewerPrimary(conninfo, among: servers)
    }

    private func findNewerPrimary(_ conninfo: String, among servers: KnownServers) {
        for place in servers.order.dropFirst() {
            handle = ConnectionParameters.attempt(conninfo, applicationName: "fieldseal watch", host: servers.hosts[place])
                .connect()
            if let report = try? begin(), !report.isReadOnly {
                let (system, timeline) = identity()
                if servers.isNewer(system, timeline) { _ = servers.admit(system, timeline, at: place) }
            }
            PQfinish(handle)
            handle = nil
        }
    }

    /// The identifier of the server's database cluster, and its current timeline; nil if the server does not report them.
    private func identity() -> (system: String?, timeline: UInt32?) {
        let timeline = text("SELECT pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 8)")
        return (text("SELECT system_identifier FROM pg_catalog.pg_control_system()"), timeline.flatMap { UInt32($0, radix: 16) })
    }

    /// The single value that a statement returns, as text; nil when the server refuses the statement.
    private func text(_ sql: String) -> String? {
        let result = PQexec(handle, sql)
        defer { PQclear(result) }
        guard PQresultStatus(result) == PGRES_TUPLES_OK, let text = PQgetvalue(result, 0, 0) else { return nil }
        return String(cString: text)
    }

    /// True if the connected server is a former primary: another server has become the primary since.
    var isOnFormerPrimary: Bool { servers?.isFormer(timeline) ?? false }

    /// Shuts the connection down, from any thread. Calls that wait for the server fail at once.
    nonisolated func cut() { canceller.cut() }

    /// Whether the server responds in time and `question` returns true. If the server does not respond in time, the connection is
    /// shut down.
    nonisolated func responds(
        within limit: Duration, _ question: @Sendable (isolated PostgresConnection) throws -> Bool
    ) async -> Bool {
        let timer = Task {
            try await Task.sleep(for: limit)
            cut()
        }
        defer { timer.cancel() }
        return (try? await run(question)) ?? false
    }
}
