package import CellCrypto
package import Foundation
import JSON
import Model
package import PostgresClient
package import Tenancy

/// The OpenID providers that an organization trusts, and the links of their subjects to people and clients here.
package struct TrustedIssuers: Sendable {
    private let deployment: Deployment

    package init(_ deployment: Deployment) { self.deployment = deployment }

    /// Claims that identify a subject. A provider never gives the same value to another subject. E-mail addresses are not among
    /// these claims.
    package static let claims = ["sub", "oid", "appid", "azp", "client_id"]

    /// A provider in a list and on the sign-in page.
    package struct Entry: Sendable {
        package let id: UUID
        /// The provider's display name.
        package let name: String
        /// The provider's issuer identifier, a URL.
        package let issuer: String
        /// The client id of this service at the provider.
        package let clientID: String
        package let claim: String
        /// Whether this service wrote the row.
        package fileprivate(set) var isAuthentic: Bool
        package var secret: [UInt8]?
        let organizationID: UUID
    }

    /// The providers of an organization, by name.
    package func list(_ organization: Organization) async throws -> [Entry] { try await list(named: organization.name) }

    func list(named organization: String) async throws -> [Entry] {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization, in: deployment, on: connection)
            return try Self.rows(of: state.organization, on: connection).map { entry, tag in
                var entry = entry
                entry.isAuthentic = try state.grants.authenticates(entry.grant, tag: tag, under: deployment.kek)
                return entry
            }
        }
    }

    /// The rows of an organization's providers, by name. The caller must verify the tags of the rows.
    package static func rows(of organization: Organization, on connection: isolated PostgresConnection) throws -> [(
        entry: Entry, tag: [UInt8]
    )] {
        try connection.query(
            """
            SELECT issuer_id, organization_id, name, issuer, client_id, client_secret, claim, tag FROM config.oidc_issuer
             WHERE organization_id = $1 ORDER BY name
            """, [.uuid(organization.id)]
        ).map { row in
            let entry = Entry(
                id: try row.decode(0), name: try row.decode(2), issuer: try row.decode(3), clientID: try row.decode(4),
                claim: try row.decode(6), isAuthentic: false,
                secret: row.isNull(5) ? nil : try row.decode(5, as: PostgresBytes.self).bytes, organizationID: try row.decode(1))
            return (entry, try row.decode(7, as: PostgresBytes.self).bytes)
        }
    }

    /// Removes the links that match a condition over `config.oidc_link`.
    static func removeLinks(
        _ condition: String, _ parameters: [PostgresParameter], _ change: inout AttestedChange,
        on connection: isolated PostgresConnection
    ) throws {
        let links = try connection.query(
            "DELETE FROM config.oidc_link WHERE \(condition) RETURNING issuer_id, subject", parameters)
        for link in links { try change.remove(Link.name(try link.decode(0), try link.decode(1))) }
    }

    /// The person or client that a subject of a provider is linked to.
    package enum Link: Sendable, Equatable {
        /// A person of the console.
        case user(UUID)
        /// A client of the Web API.
        case client(UUID)
    }

    /// The person or client of a subject; nil if the subject is not linked, or this service did not write the link.
    func link(of subject: String, at issuer: Entry, in organization: String) async throws -> Link? {
        try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization, in: deployment, on: connection)
            let rows = try connection.query(
                "SELECT user_id, client_id, tag FROM config.oidc_link WHERE issuer_id = $1 AND subject = $2",
                [.uuid(issuer.id), .text(subject)])
            guard let row = rows.first else { return nil }
            let link = try Link(row)
            let tag = try row.decode(2, as: PostgresBytes.self).bytes
            return try state.grants.authenticates(link.grant(subject, at: issuer.id), tag: tag, under: deployment.kek) ? link : nil
        }
    }

    /// The secret of this service at a provider.
    func secret(of entry: Entry) throws -> String? {
        try entry.secret.map { sealed in
            try deployment.kek.open(sealed, at: Self.address(entry.id, entry.organizationID)).withBytes {
                String(decoding: $0, as: UTF8.self)
            }
        }
    }

    package static func address(_ id: UUID, _ organization: UUID) -> CellAddress {
        CellAddress(organization: organization, record: id, attribute: "oidc.secret")
    }
}

// The attested contents of issuers and links.
extension TrustedIssuers.Entry {
    static func name(_ id: UUID) -> Grant.Name { Grant.Name(.issuer, [id.bytes]) }

    package var grant: Grant {
        Grant(
            Self.name(id),
            [organizationID.bytes] + [name, issuer, clientID, claim].map { Grant.field($0) } + [Grant.field(secret)])
    }
}

extension TrustedIssuers.Link {
    /// Reads `user_id, client_id`. One of the two columns is null.
    package init(_ row: PostgresRow, at first: Int = 0) throws {
        self = try row.isNull(first) ? .client(row.decode(first + 1)) : .user(row.decode(first))
    }

    static func name(_ issuer: UUID, _ subject: String) -> Grant.Name {
        Grant.Name(.link, [issuer.bytes, Grant.field(subject)])
    }

    /// The grant that attests a link from a subject of an issuer to this account.
    package func grant(_ subject: String, at issuer: UUID) -> Grant {
        let (kind, id) =
            switch self {
            case .user(let id): ("user", id)
            case .client(let id): ("client", id)
            }
        return Grant(Self.name(issuer, subject), [Grant.field(kind), id.bytes])
    }
}
