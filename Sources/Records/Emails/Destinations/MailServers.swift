/// The servers of a profile. A side (incoming or outgoing) without a server of its own uses the default server.
package struct MailServers: Sendable {
    /// The attributes that name servers.
    package static let attributes = ["incomingserverlocation", "outgoingserverlocation", "defaultserverlocation"]

    private var values: [String: String] = [:]

    /// - Parameter value: Returns the value of the attribute with the given name.
    package init(_ value: (String) throws -> String?) rethrows {
        for name in Self.attributes { values[name] = try value(name) }
    }

    /// - Parameter side: `incoming` or `outgoing`.
    package func server(of side: String) -> String? { values["\(side)serverlocation"] ?? values["defaultserverlocation"] }

    /// The servers of both sides, each once.
    package var names: [String] {
        let servers = ["incoming", "outgoing"].compactMap { server(of: $0) }.filter { !$0.isEmpty }
        return servers.first == servers.last ? Array(servers.prefix(1)) : servers
    }
}
