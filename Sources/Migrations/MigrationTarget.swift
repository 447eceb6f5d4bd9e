package import Foundation
import PostgresClient

/// A target of migrations: the deployment, or one organization's schema.
package enum MigrationTarget: Sendable, Hashable, CustomStringConvertible {
    case config
    case organization(id: UUID, name: String, schema: String)

    var scope: Migration.Scope {
        switch self {
        case .config: .config
        case .organization: .organization
        }
    }

    var organizationID: UUID? {
        if case .organization(let id, _, _) = self { id } else { nil }
    }

    /// `config`, or the organization's name.
    package var description: String {
        switch self {
        case .config: "config"
        case .organization(_, let name, _): name
        }
    }
}
