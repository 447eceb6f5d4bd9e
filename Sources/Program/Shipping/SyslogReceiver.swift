import Foundation
import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import NIOTLS
import Tenancy

/// Completes a promise when the TLS handshake has ended.
private final class HandshakeEnd: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let promise: EventLoopPromise<Void>

    init(_ promise: EventLoopPromise<Void>) { self.promise = promise }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        if case TLSUserEvent.handshakeCompleted = event { promise.succeed() }
        context.fireUserInboundEventTriggered(event)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { promise.fail(error) }

    func channelInactive(context: ChannelHandlerContext) { promise.fail(ReceiverProblem("the connection was closed")) }
}

/// A receiver of syslog over TLS (RFC 5425), on one connection that is opened again when it breaks.
///
/// The protocol has no acknowledgement. A batch counts as received when the receiver's TCP has confirmed all bytes, and the
/// connection is still open then.
actor SyslogReceiver: EventReceiver {
    nonisolated let name: String
    private let host: String
    private let port: Int
    private let context: NIOSSLContext
    private var channel: (any Channel)?

    private static let connectSeconds: Int64 = 10
    private static let sendSeconds: Int64 = 20
    /// The pause between two checks whether the receiver has confirmed all bytes, and the maximum number of checks.
    private static let look = Duration.milliseconds(50)
    private static let looks = 200

    /// - Throws: An error if the certificate files can't be used.
    init(host: String, port: Int, authorityFile: String?, certificateFile: String?, privateKeyFile: String?) throws {
        let address = "\(host):\(port)"
        (self.host, self.port, name) = (host, port, address)
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        if let authorityFile { tls.trustRoots = .certificates(try Self.certificates(authorityFile)) }
        if let certificateFile, let privateKeyFile {
            tls.certificateChain = try Self.certificates(certificateFile).map { .certificate($0) }
            guard let key = try? NIOSSLPrivateKey(file: privateKeyFile, format: .pem) else {
                throw ReceiverProblem(
                    "\(privateKeyFile) \(FileStatus.obstacle(toReading: privateKeyFile).map { "can't be read: \($0)" } ?? "holds no private key in PEM")"
                )
            }
            tls.privateKey = .privateKey(key)
        }
        do {
            context = try NIOSSLContext(configuration: tls)
        } catch {
            throw ReceiverProblem("the certificate for \(address) can't be used: \(error)")
        }
    }

    private static func certificates(_ file: String) throws(ReceiverProblem) -> [NIOSSLCertificate] {
        guard let certificates = try? NIOSSLCertificate.fromPEMFile(file), !certificates.isEmpty else {
            throw ReceiverProblem(
                "\(file) \(FileStatus.obstacle(toReading: file).map { "can't be read: \($0)" } ?? "holds no certificate in PEM")")
        }
        return certificates
    }

    /// Connects, and waits for the end of the TLS handshake.
    ///
    /// - Throws: ``ReceiverProblem``.
    func check() async throws {
        let ended = MultiThreadedEventLoopGroup.singleton.any().makePromise(of: Void.self)
        let channel: any Channel
        do {
            channel = try await connect { HandshakeEnd(ended) }
        } catch {
            ended.succeed()
            throw error
        }
        let limit = channel.eventLoop.scheduleTask(in: .seconds(Self.connectSeconds)) {
            ended.fail(ReceiverProblem("\(self.name) does not answer the TLS handshake"))
        }
        defer {
            limit.cancel()
            channel.close(promise: nil)
        }
        do { try await ended.futureResult.get() } catch let problem as ReceiverProblem { throw problem } catch {
            throw ReceiverProblem("\(name) does not complete the TLS handshake: \(error)")
        }
    }

    func send(_ batch: EventShipment.Batch) async throws {
        let channel = try await open()
        let frames = ByteBuffer(bytes: SyslogMessage.frames(of: batch))
        // A receiver that accepts connections but does not read would block this call forever, and the end of the service too.
        let limit = channel.eventLoop.scheduleTask(in: .seconds(Self.sendSeconds)) { channel.close(promise: nil) }
        defer { limit.cancel() }
        do {
            try await withTaskCancellationHandler {
                try await channel.writeAndFlush(frames)
                try await confirm(on: channel)
            } onCancel: {
                channel.close(promise: nil)
            }
        } catch {
            self.channel = nil
            channel.close(promise: nil)
            throw ReceiverProblem("\(name) did not accept the events: \(error)")
        }
    }

    private func open() async throws -> any Channel {
        if let channel, channel.isActive { return channel }
        let new = try await connect { nil }
        channel = new
        return new
    }

    /// - Parameter handler: Makes a handler that is added after the TLS handler.
    private func connect(_ handler: @escaping @Sendable () -> HandshakeEnd?) async throws -> any Channel {
        let (context, host) = (context, host)
        do {
            return try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(Self.connectSeconds))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        // SNI needs a host name. If the receiver is an IP address, its certificate must have that address.
                        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host))
                        if let handler = handler() { try channel.pipeline.syncOperations.addHandler(handler) }
                    }
                }
                .connect(host: host, port: port).get()
        } catch {
            throw ReceiverProblem("\(name) can't be reached: \(error)")
        }
    }

    private func confirm(on channel: any Channel) async throws {
        for _ in 0..<Self.looks {
            try await Task.sleep(for: Self.look)
            guard channel.isActive else { throw ReceiverProblem("the connection was closed") }
            guard let socket = channel as? any SocketOptionProvider else { return }
            if try await socket.getTCPInfo().map({ $0.tcpi_unacked }).get() == 0 { return }
        }
        throw ReceiverProblem("the receiver does not confirm what it was sent")
    }
}
