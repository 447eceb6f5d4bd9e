public import Authentication
import Foundation
public import Hummingbird
import JSON
import Logging
public import Model
import NIOCore
import Synchronization
import Tenancy

/// What goes with one request.
public struct APIContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    let channel: any Channel
    /// The path of the request as the routes take it, percent-encoded.
    var path = ""
    /// The version that a path of the data API names; nil for any other path.
    var dataVersion: String?
    /// The address of the client, without its port: of the peer, or what trusted proxies say.
    public internal(set) var clientAddress: String?
    /// The organization that the request asks, and the address under which it does; nil where it names none.
    public internal(set) var address: OrganizationAddress?
    /// Why the organization can't be asked now; nil where it can.
    public internal(set) var refusal: FieldsealError?
    /// Who asks, for the log.
    public let principal = Principal()
    /// Names the request in the log, in security events and in the response.
    public let requestID: String

    public init(source: ApplicationRequestContextSource) {
        requestID = UUID.random().text
        var logger = source.logger
        logger[metadataKey: "hb.request.id"] = nil
        logger[metadataKey: "request_id"] = .string(requestID)
        coreContext = .init(source: ApplicationRequestContextSource(channel: source.channel, logger: logger))
        channel = source.channel
    }

    /// What requests without a token are counted by.
    var network: String { clientAddress.map(IPAddress.network) ?? "" }

    /// The organization's address.
    ///
    /// - Throws: 404 for a path that names no organization.
    func organizationAddress() throws -> OrganizationAddress {
        guard let address else { throw HTTPError(.notFound) }
        return address
    }

    var peer: Peer { Peer(channel: channel) }

    /// Who asks, once it is known.
    public final class Principal: Sendable {
        private let actor = Mutex<String?>(nil)

        /// As security events have it, such as `client:NAME`.
        public var name: String? {
            get { actor.withLock { $0 } }
            set { actor.withLock { $0 = newValue } }
        }
    }
}
