import Authentication
import JSON
import Model

/// The addresses of one organization's data API, for parsing addresses that clients write.
///
/// Clients write the address of a record, or of a request in a batch, relative or absolute. An absolute address that names another
/// host or another organization is refused.
struct RecordAddresses: Sendable {
    /// The organization's address in this request.
    let asked: OrganizationAddress
    /// The source of the organization's other addresses.
    let all: ServiceAddresses

    /// Addresses of the organization, such as `https://crm.example/contoso`, in lower case.
    ///
    /// If the organization has its own host, it is also reachable below its name on that host.
    private var roots: [String] {
        let roots = ([asked.url] + all.all(of: asked.organization)).map { $0.lowercased() }
        let suffix = "/\(asked.organization.lowercased())"
        return roots + roots.filter { !$0.hasSuffix(suffix) }.map { $0 + suffix }
    }

    /// The hosts of the organization's addresses, with their ports.
    var authorities: Set<String> { Set(roots.map { String(Self.afterScheme($0).prefix { $0 != "/" }) }) }

    /// The paths that may precede `/api/data` in addresses without a host, the longest first.
    private var paths: [String] {
        Set(roots.map { String(Self.afterScheme($0).drop { $0 != "/" }) } + [""]).sorted { $0.count > $1.count }
    }

    private static func afterScheme(_ root: String) -> Substring {
        root.firstRange(of: "://").map { root[$0.upperBound...] } ?? root[...]
    }

    /// The part after the API's version, with its leading slash. An address without a host and a version is returned unchanged.
    ///
    /// - Throws: ``FieldsealError`` `.badRequest` for an address of another host or another organization.
    func relative(_ address: String) throws(FieldsealError) -> String {
        let place = address.prefix { !"(?'".contains($0) }.lowercased()
        if place.contains("://") {
            guard let root = roots.first(where: { place.hasPrefix($0 + Self.data) }) else { throw foreign(address) }
            return try behindVersion(address.dropFirst(root.count), of: address)
        }
        guard !place.hasPrefix("//") else { throw foreign(address) }
        guard place.hasPrefix("/") else { return address }
        if let path = paths.first(where: { place.hasPrefix($0 + Self.data) }) {
            return try behindVersion(address.dropFirst(path.count), of: address)
        }
        guard !place.contains(Self.data) else { throw foreign(address) }
        return address
    }

    private func behindVersion(_ rest: Substring, of address: String) throws(FieldsealError) -> String {
        guard let version = rest.prefixMatch(of: /\/[aA][pP][iI]\/[dD][aA][tT][aA]\/v9\.[012](?:\.[0-9]+)*/),
            rest[version.range.upperBound...].first.map({ "/?".contains($0) }) ?? true
        else { throw ODataPath.unknown(address) }
        return String(rest[version.range.upperBound...])
    }

    private func foreign(_ address: String) -> FieldsealError {
        FieldsealError(
            .badRequest,
            "\(String(address.prefix { $0 != "?" }).quotedForMessage) is not an address of this organization's API. Write it relative, such "
                + "as mailboxes(ID), or below the address that the request is sent to.")
    }

    private static let data = "/api/data/"

    /// The members, with the addresses in `@odata.bind` and `@odata.id` made relative, at every depth.
    func relative(_ members: [JSONValue.Member]) throws(FieldsealError) -> [JSONValue.Member] {
        try members.map { member throws(FieldsealError) in
            let isAddress = member.name.hasSuffix("@odata.bind") || member.name.hasSuffix("@odata.id")
            return .init(member.name, try relative(member.value, isAddress: isAddress))
        }
    }

    private func relative(_ value: JSONValue, isAddress: Bool) throws(FieldsealError) -> JSONValue {
        switch value {
        case .string(let address) where isAddress: .string(try relative(address))
        case .array(let values):
            .array(try values.map { value throws(FieldsealError) in try relative(value, isAddress: isAddress) })
        case .object(let members): .object(try relative(members))
        default: value
        }
    }
}
