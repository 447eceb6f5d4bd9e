import Authentication
import CellCrypto
import Foundation
import JSON
import KeyManagement
import Model
import Records
import Tenancy

/// The organization's details for clients.
struct OrganizationDetail: Sendable {
    private let organization: Organization
    private let root: String

    init(_ organization: Organization, root: String) {
        self.organization = organization
        self.root = root
    }

    /// - Parameter namespace: The namespace of the contract. The Discovery service has its own contract.
    func write(to writer: inout ContractWriter, namespace: String = Contract.organization) {
        let suffix = namespace == Contract.discovery ? "ztYlk6OT" : "yDL0RVHi"
        let pair = "KeyValuePairOfEndpointTypestring\(suffix)"
        writer.text("DatacenterId", namespace, Contract.emptyID)
        writer.element("Endpoints", namespace, declaring: [Contract.pairs]) { writer in
            for (kind, path) in [("WebApplication", "/"), ("OrganizationService", "/XRMServices/2011/Organization.svc")] {
                writer.element(pair, namespace) { writer in
                    writer.text("key", Contract.pairs, kind)
                    writer.text("value", Contract.pairs, root + path)
                }
            }
        }
        writer.null("EnvironmentId", namespace)
        writer.text("FriendlyName", namespace, organization.name)
        writer.null("Geo", namespace)
        writer.text("OrganizationId", namespace, organization.id.text)
        writer.text("OrganizationVersion", namespace, Contract.version)
        writer.text("State", namespace, "Enabled")
        writer.null("TenantId", namespace)
        writer.text("UniqueName", namespace, organization.name)
        writer.text("UrlName", namespace, organization.name)
    }
}
