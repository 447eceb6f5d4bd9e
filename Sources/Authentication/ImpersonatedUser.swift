package import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// The user for whom a request acts, as the request names them.
package enum ImpersonatedUser: Sendable, Hashable {
    /// By the id of the systemuser (`MSCRMCallerID`, and SOAP's `CallerId`).
    case systemUser(UUID)
    /// By `azureactivedirectoryobjectid` of the systemuser (`CallerObjectId`).
    case objectID(UUID)

    var column: String {
        switch self {
        case .systemUser: "systemuserid"
        case .objectID: "azureactivedirectoryobjectid"
        }
    }

    var id: UUID {
        switch self {
        case .systemUser(let id), .objectID(let id): id
        }
    }
}
