import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import ServiceLifecycle
import Synchronization

/// A listener on a socket that another program, such as systemd, has opened. While no server runs, new connections wait in the
/// socket's queue.
///
/// Hummingbird opens its sockets itself, so this type does the work of Hummingbird's `Application` and `Server`.
struct InheritedListener<Connection: ServerChildChannel>: ServiceLifecycle.Service {
    let socket: NIOBSDSocket.Handle
    let connection: Connection
    /// How many connections are open at a time. Further connections wait.
    let limit: Int
    let logger: Logger
    let onRunning: @Sendable (any Channel) async -> Void
    private let open = OpenChannels()

    init(
        on socket: NIOBSDSocket.Handle, _ connection: Connection, limit: Int, logger: Logger,
        onRunning: @escaping @Sendable (any Channel) async -> Void
    ) {
        (self.socket, self.connection, self.limit, self.logger, self.onRunning) = (socket, connection, limit, logger, onRunning)
    }

    func run() async throws {
        let (connection, logger, limit, open) = (connection, logger, limit, open)
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(ChannelOptions.allowRemoteHalfClosure, value: true)
            .serverChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ConnectionLimit(limit))
                }
            }
            .bind(socket) { channel in
                open.add(channel)
                return connection.setup(channel: channel, logger: logger)
            }
        await withGracefulShutdownHandler {
            await onRunning(server.channel)
            await withDiscardingTaskGroup { group in
                do {
                    try await server.executeThenClose { try await accept($0, in: &group) }
                } catch {
                    logger.debug("the listener accepts no more connections", metadata: ["error": "\(error)"])
                }
            }
        } onGracefulShutdown: {
            server.channel.close(promise: nil)
            // Each connection is closed after its pending requests were answered.
            open.quiesce()
        }
    }

    private func accept(
        _ inbound: NIOAsyncChannelInboundStream<Connection.Value>, in group: inout DiscardingTaskGroup
    ) async throws {
        for try await value in inbound {
            group.addTask { [connection, logger] in await connection.handle(value: value, logger: logger) }
        }
    }

    /// The handlers that respond to the requests of a connection.
    static func responder<Inner: HTTPResponder>(_ inner: Inner, logger: Logger) -> HTTPChannelHandler.Responder
    where Inner.Context == APIContext {
        { (request: Request, writer: consuming ResponseWriter, channel: any Channel) in
            let context = APIContext(source: ApplicationRequestContextSource(channel: channel, logger: logger))
            var response: Response
            do {
                response = try await inner.respond(to: request, context: context)
            } catch let error as HTTPParserError {
                throw error
            } catch {
                response = Response(status: .internalServerError)
            }
            response.headers[.date] = HTTPDate.now
            try await writer.write(response: response.head, body: response.body)
        }
    }
}

/// The connections of a listener.
private final class OpenChannels: Sendable {
    private let channels = Mutex<[ObjectIdentifier: any Channel]>([:])

    func add(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        channels.withLock { $0[id] = channel }
        channel.closeFuture.whenComplete { [self] _ in channels.withLock { $0[id] = nil } }
    }

    func quiesce() {
        for channel in channels.withLock({ Array($0.values) }) {
            channel.pipeline.fireUserInboundEventTriggered(ChannelShouldQuiesceEvent())
        }
    }
}

/// Accepts no more connections than the limit. Further connections wait in the socket's queue.
private final class ConnectionLimit: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias OutboundIn = any Channel

    private let limit: Int
    private var count = 0
    private var isWaiting = false

    init(_ limit: Int) { self.limit = limit }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        count += 1
        let bound = NIOLoopBound((self, context), eventLoop: context.eventLoop)
        unwrapInboundIn(data).closeFuture.hop(to: context.eventLoop).whenComplete { _ in
            let (handler, context) = bound.value
            handler.count -= 1
            guard handler.isWaiting else { return }
            handler.isWaiting = false
            context.read()
        }
        context.fireChannelRead(data)
    }

    func read(context: ChannelHandlerContext) {
        if count < limit { context.read() } else { isWaiting = true }
    }
}

/// The time in HTTP's format (RFC 9110 section 5.6.7).
private enum HTTPDate {
    static var now: String {
        var seconds = time(nil)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 64)
        let count = strftime(&text, text.count, "%a, %d %b %Y %H:%M:%S GMT", &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
