import Tenancy

/// The addresses of organizations: each is a path below ``baseURL``, and some are also the root of their own hosts.
package struct ServiceAddresses: Sendable {
    /// The service's address, without a trailing slash.
    package let baseURL: String
    /// Organizations by host. The host is in lower case, with a port if the settings give one.
    private let hosts: [String: String]
    /// The hosts of each organization, in order.
    private let hostsOfOrganizations: [String: [String]]

    package init(baseURL: String, hosts: [String: String] = [:]) {
        self.baseURL = baseURL
        self.hosts = hosts
        hostsOfOrganizations = Dictionary(grouping: hosts.keys.sorted()) { hosts[$0] ?? "" }
    }

    /// The first segments of paths below an organization. An organization at the root of its own host must not have one of these
    /// names.
    static let reserved: Set<Substring> = ["adfs", "api", "oauth2", "discovery", "v2.0", ".well-known", "XRMServices"]
    /// Paths of the service that belong to no organization.
    private static let shared: Set<Substring> = ["healthz", "readyz", "assets"]

    /// Whether the first segment of a path belongs to the service and names no organization.
    package static func isShared(_ segment: String) -> Bool { shared.contains(segment[...]) }

    /// Whether an organization can be at the root of a host. False if its name is the first segment of one of the service's paths
    /// below an organization.
    package static func canBeRoot(_ organization: String) -> Bool { !reserved.contains(organization[...]) }

    /// Finds the organization of a request.
    ///
    /// - Parameters:
    ///   - authority: The host in the request, with its port.
    ///   - path: The path of the request, percent-encoded.
    /// - Returns: The organization's address, and whether the path does not include its name. Nil for a path that belongs to no
    ///   organization.
    package func resolve(authority: String?, path: Substring) -> (address: OrganizationAddress, isAtRoot: Bool)? {
        let slash = UInt8(ascii: "/")
        let rest = path.utf8.drop { $0 == slash }
        let first = path[rest.startIndex..<(rest.firstIndex(of: slash) ?? path.endIndex)]
        guard !hosts.isEmpty, let authority, let (organization, root) = organization(at: authority.lowercased()) else {
            guard Organization.isName(first) else { return nil }
            return (OrganizationAddress(organization: String(first), url: "\(baseURL)/\(first)"), false)
        }
        guard !Self.shared.contains(first) else { return nil }
        if first == organization { return (OrganizationAddress(organization: organization, url: "\(root)/\(organization)"), false) }
        return (OrganizationAddress(organization: organization, url: root), true)
    }

    /// The organization with a URL as its address, with or without a trailing slash.
    package func organization(of url: String) -> String? {
        var url = url[...]
        while url.last == "/" { url.removeLast() }
        guard url.prefix(Self.scheme.count).lowercased() == Self.scheme else { return nil }
        let rest = url.dropFirst(Self.scheme.count)
        let authority = rest.prefix { $0 != "/" }.lowercased()
        let path = rest.dropFirst(authority.count).dropFirst()
        guard let (organization, _) = organization(at: authority) else {
            guard "\(Self.scheme)\(authority)" == baseURL.lowercased(), Organization.isName(path) else { return nil }
            return String(path)
        }
        return path.isEmpty || path == organization ? organization : nil
    }

    /// The addresses of an organization. The first address is below ``baseURL``.
    package func all(of organization: String) -> [String] {
        ["\(baseURL)/\(organization)"] + (hostsOfOrganizations[organization] ?? []).map { "\(Self.scheme)\($0)" }
    }

    private static let scheme = "https://"
    private static let standardPort = ":443"

    /// - Parameter authority: The host in lower case.
    /// - Returns: The organization, and the host's address in the request.
    private func organization(at authority: String) -> (organization: String, root: String)? {
        let asked = authority.hasSuffix(Self.standardPort) ? String(authority.dropLast(Self.standardPort.count)) : authority
        if let organization = hosts[asked] { return (organization, "\(Self.scheme)\(asked)") }
        // A host that the settings give without a port matches every port, because a proxy may be reached at a different port.
        let parts = asked.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0, "\(port)" == parts[1],
            let organization = hosts[String(parts[0])]
        else { return nil }
        return (organization, "\(Self.scheme)\(asked)")
    }
}
