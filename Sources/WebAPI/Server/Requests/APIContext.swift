package import Authentication
import Foundation
package import Hummingbird
import JSON
import Logging
package import Model
import NIOCore
import Synchronization
import Tenancy

/// The context of one request.
package struct APIContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    let channel: any Channel
    /// The path of the request, percent-encoded. If the organization has its own host, its name is added before the path, because
    /// the routes begin with it.
    var path = ""
    /// The part of the service to which ``DirectResponder`` passes the request; nil for a request that the router has to match.
    var target: DirectResponder.Target?
    /// The address of the client, without its port: the peer's address, or the address that trusted proxies report.
    package internal(set) var clientAddress: String?
    /// The requested organization and its address in the request; nil if the request names none.
    package internal(set) var address: OrganizationAddress?
    /// The reason for which the organization is unavailable; nil if it is available.
    package internal(set) var refusal: FieldsealError?
    /// The caller, for the log.
    package let principal = Principal()
    /// Counts the request and its response toward the limits.
    let hold = RequestHold()
    /// The request's id in the log, in security events and in the response.
    package let requestID: String

    package init(source: ApplicationRequestContextSource) {
        requestID = UUID.random().text
        var logger = source.logger
        logger[metadataKey: "hb.request.id"] = nil
        logger[metadataKey: "request_id"] = .string(requestID)
        coreContext = .init(source: ApplicationRequestContextSource(channel: source.channel, logger: logger))
        channel = source.channel
    }

    /// The key by which requests without a token are counted.
    var network: String { clientAddress.map(IPAddress.network) ?? "" }

    /// The organization's address.
    ///
    /// - Throws: 404 for a path that names no organization.
    func organizationAddress() throws -> OrganizationAddress {
        guard let address else { throw HTTPError(.notFound) }
        return address
    }

    var peer: Peer { Peer(channel: channel) }

    /// The caller, once it is known.
    package final class Principal: Sendable {
        private let actor = Mutex<String?>(nil)

        /// The caller's name in security events, such as `client:NAME`.
        package var name: String? {
            get { actor.withLock { $0 } }
            set { actor.withLock { $0 = newValue } }
        }
    }
}
