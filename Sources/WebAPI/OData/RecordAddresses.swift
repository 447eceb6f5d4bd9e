import Authentication
import JSON
import Model

/// The addresses under which one organization's data API is reached, for reading the addresses that clients write.
///
/// A client writes the address of a record, or of a part of a batch, relative or absolute. An absolute one may name another host or
/// another organization, whose records are not these.
struct RecordAddresses: Sendable {
    /// The organization's address that this request asked.
    let asked: OrganizationAddress
    /// Where its other addresses come from.
    let all: ServiceAddresses

    /// Addresses of the organization, such as `https://crm.example/contoso`, in lower case.
    ///
    /// At the root of a host of its own, the organization is reached below its name too.
    private var roots: [String] {
        let roots = ([asked.url] + all.all(of: asked.organization)).map { $0.lowercased() }
        let suffix = "/\(asked.organization.lowercased())"
        return roots + roots.filter { !$0.hasSuffix(suffix) }.map { $0 + suffix }
    }

    /// The hosts of the organization's addresses, with their ports.
    var authorities: Set<String> { Set(roots.map { String(Self.afterScheme($0).prefix { $0 != "/" }) }) }

    /// What stands before `/api/data` in addresses without a host, the longest first.
    private var paths: [String] {
        Set(roots.map { String(Self.afterScheme($0).drop { $0 != "/" }) } + [""]).sorted { $0.count > $1.count }
    }

    private static func afterScheme(_ root: String) -> Substring {
        root.firstRange(of: "://").map { root[$0.upperBound...] } ?? root[...]
    }

    /// What stands behind the version of the API, with its slash; an address that has neither host nor version is returned as it is.
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
        guard let version = rest.prefixMatch(of: /\/[aA][pP][iI]\/[dD][aA][tT][aA]\/v9\.[012]/),
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

    /// Members with the addresses in their `@odata.bind` and `@odata.id` made relative, at every depth.
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
