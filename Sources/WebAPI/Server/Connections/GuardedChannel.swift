import HummingbirdCore
import Logging
import NIOCore
import NIOSSL
import Tenancy

/// Adds limits before a listener's own handlers: a share of the connections for each network, a deadline for the TLS handshake, and
/// the PROXY protocol if the listener uses it.
struct GuardedChannel<Inner: ServerChildChannel>: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        /// Nil for a connection that was closed before any data arrived.
        let inner: Inner.Value?
        let channel: any Channel
    }

    /// The listener's own handlers for a new connection.
    let current: @Sendable () -> Inner
    let limits: APILimits
    let listeners: Listeners
    /// Whether each connection begins with a header of the PROXY protocol.
    var takesProxyProtocol = false

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let peer = channel.remoteAddress?.ipAddress.flatMap(IPAddress.init)
        // With the PROXY protocol, a connection is counted later, under the client's address from the header.
        let isAdmitted = takesProxyProtocol ? listeners.isTrusted(peer) : listeners.admit(channel, from: peer)
        guard isAdmitted else {
            channel.close(promise: nil)
            return channel.eventLoop.makeSucceededFuture(Value(inner: nil, channel: channel))
        }
        do {
            // ConnectionWatch is the first handler, so that its deadline includes the time before the handshake.
            let watch = ConnectionWatch(limits: limits)
            try channel.pipeline.syncOperations.addHandler(watch)
            if takesProxyProtocol {
                try channel.pipeline.syncOperations.addHandler(ProxyProtocolHandler(listeners: listeners, peer: peer))
            }
        } catch {
            return channel.eventLoop.makeFailedFuture(error)
        }
        return current().setup(channel: channel, logger: logger).flatMapThrowing { value in
            if let tls = try? channel.pipeline.syncOperations.handler(type: NIOSSLServerHandler.self) {
                let patience = TimeAmount.seconds(Int64(limits.idleSeconds))
                try channel.pipeline.syncOperations.addHandlers(
                    [FlushedClose(patience: patience), HandshakeObserver()], position: .after(tls))
            } else {
                try channel.pipeline.syncOperations.handler(type: ConnectionWatch.self).handshakeHasEnded()
            }
            return Value(inner: value, channel: channel)
        }
    }

    func handle(value: Value, logger: Logger) async {
        guard let inner = value.inner else { return }
        await withTaskExecutorPreference(LoopExecutor(value.channel.eventLoop)) {
            await current().handle(value: inner, logger: logger)
        }
    }
}
