import Tenancy

/// The addresses under which organizations are reached: each as a path below ``baseURL``, and some at the root of their own hosts.
public struct ServiceAddresses: Sendable {
    /// The service's address, without a trailing slash.
    public let baseURL: String
    /// Organizations by the host whose root they are at: its name in lower case, and a port where one is meant.
    private let hosts: [String: String]
    /// Hosts of one organization, in their order.
    private let hostsOfOrganizations: [String: [String]]

    public init(baseURL: String, hosts: [String: String] = [:]) {
        self.baseURL = baseURL
        self.hosts = hosts
        hostsOfOrganizations = Dictionary(grouping: hosts.keys.sorted()) { hosts[$0] ?? "" }
    }

    /// Paths below an organization. A path at the root of a host may begin with the organization's name, but with none of these.
    static let reserved: Set<Substring> = ["adfs", "api", "oauth2", "discovery", "v2.0", ".well-known", "XRMServices"]
    /// Paths of the service, which belong to no organization.
    private static let shared: Set<Substring> = ["healthz", "readyz", "assets"]

    /// Whether the first segment of a path belongs to the service itself, and names no organization.
    public static func isShared(_ segment: String) -> Bool { shared.contains(segment[...]) }

    /// Whether an organization can be at the root of a host: its name is none of the paths there.
    public static func canBeRoot(_ organization: String) -> Bool { !reserved.contains(organization[...]) }

    /// Where a request asks an organization.
    ///
    /// - Parameters:
    ///   - authority: The host that the client asked, with its port.
    ///   - path: The path of the request, percent-encoded.
    /// - Returns: The organization's address, and whether the path stands below it without naming it. Nil for a path that belongs
    ///   to no organization.
    public func resolve(authority: String?, path: Substring) -> (address: OrganizationAddress, isAtRoot: Bool)? {
        let first = path.drop { $0 == "/" }.prefix { $0 != "/" }
        guard !hosts.isEmpty, let authority, let (organization, root) = organization(at: authority.lowercased()) else {
            guard Organization.isName(first) else { return nil }
            return (OrganizationAddress(organization: String(first), url: "\(baseURL)/\(first)"), false)
        }
        guard !Self.shared.contains(first) else { return nil }
        if first == organization { return (OrganizationAddress(organization: organization, url: "\(root)/\(organization)"), false) }
        return (OrganizationAddress(organization: organization, url: root), true)
    }

    /// The organization whose address a URL is, with or without a trailing slash.
    public func organization(of url: String) -> String? {
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

    /// The addresses of an organization, of which the first is the one below ``baseURL``.
    public func all(of organization: String) -> [String] {
        ["\(baseURL)/\(organization)"] + (hostsOfOrganizations[organization] ?? []).map { "\(Self.scheme)\($0)" }
    }

    private static let scheme = "https://"
    private static let standardPort = ":443"

    /// - Parameter authority: In lower case.
    /// - Returns: The organization, and the address of the host as the client asked it.
    private func organization(at authority: String) -> (organization: String, root: String)? {
        let asked = authority.hasSuffix(Self.standardPort) ? String(authority.dropLast(Self.standardPort.count)) : authority
        if let organization = hosts[asked] { return (organization, "\(Self.scheme)\(asked)") }
        // A host without a port in the settings is meant with any: the client may reach it through a forwarded one.
        let parts = asked.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let port = UInt16(parts[1]), port > 0, "\(port)" == parts[1],
            let organization = hosts[String(parts[0])]
        else { return nil }
        return (organization, "\(Self.scheme)\(asked)")
    }
}

/// One organization under the address that a client asked. Every address that the client is told begins with it.
public struct OrganizationAddress: Sendable, Equatable {
    /// The organization's name. There may be no organization of that name.
    public let organization: String
    /// Without a trailing slash.
    public let url: String

    /// The identifier of the issuer of tokens: the address below which clients find its description.
    public var issuer: String { url + Self.issuerPath }

    static let issuerPath = "/v2.0"

    /// What clients take for the authority. Microsoft's libraries want one that has a path.
    public var authority: String { url.hasSuffix("/\(organization)") ? url : "\(url)/\(organization)" }

    /// The `WWW-Authenticate` of an answer that asks for a token, from which clients of Dataverse learn where to get one, and for what.
    public var challenge: String { "Bearer authorization_uri=\(authority)/oauth2/authorize, resource_id=\(url)/" }
}

/// Which of the two kinds of endpoints of Microsoft's identity platform a client uses. Its tokens have it as a claim.
public enum TokenVersion: String, Sendable {
    /// Clients name what they want a token for as `resource`.
    case v1 = "1.0"
    /// Clients name it as `scope`.
    case v2 = "2.0"
}
