import Fieldseal
import Foundation
public import Hummingbird
import Logging
import NIOCore

/// What goes with one request.
public struct APIContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    /// Where the connection is read and written.
    let loop: LoopExecutor
    /// The address of the peer, without its port.
    public let peerAddress: String?
    /// Names the request in the log, in security events and in the response.
    public let requestID: String

    public init(source: ApplicationRequestContextSource) {
        requestID = UUID.random().text
        var logger = source.logger
        logger[metadataKey: "hb.request.id"] = nil
        logger[metadataKey: "request_id"] = .string(requestID)
        coreContext = .init(source: ApplicationRequestContextSource(channel: source.channel, logger: logger))
        loop = LoopExecutor(source.channel.eventLoop)
        peerAddress = source.channel.remoteAddress?.ipAddress
    }
}
