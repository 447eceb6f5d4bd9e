import Foundation
import Glibc
import NIOCore
import NIOPosix
import NIOSSL
import Tenancy

/// A receiver of syslog over TLS (RFC 5425), on one connection that is opened again when it breaks.
///
/// The protocol has no acknowledgement. A batch counts as received when the receiver's TCP has confirmed all of it, and the
/// connection is still open after that.
actor SyslogReceiver: EventReceiver {
    nonisolated let name: String
    private let host: String
    private let port: Int
    private let context: NIOSSLContext
    private var channel: (any Channel)?

    private static let connectSeconds: Int64 = 10
    private static let sendSeconds: Int64 = 20
    /// The pause between two checks of the confirmed bytes, and the number of checks.
    private static let look = Duration.milliseconds(50)
    private static let looks = 200

    /// - Throws: For certificate files that can't be used.
    init(host: String, port: Int, authorityFile: String?, certificateFile: String?, privateKeyFile: String?) throws {
        let address = "\(host):\(port)"
        (self.host, self.port, name) = (host, port, address)
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv12
        if let authorityFile { tls.trustRoots = .certificates(try Self.certificates(authorityFile)) }
        if let certificateFile, let privateKeyFile {
            tls.certificateChain = try Self.certificates(certificateFile).map { .certificate($0) }
            guard let key = try? NIOSSLPrivateKey(file: privateKeyFile, format: .pem) else {
                throw ReceiverProblem("\(privateKeyFile) can't be read, or holds no private key in PEM")
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
            throw ReceiverProblem("\(file) can't be read, or holds no certificate in PEM")
        }
        return certificates
    }

    func send(_ batch: EventShipment.Batch) async throws {
        let channel = try await open()
        let frames = ByteBuffer(bytes: SyslogMessage.frames(of: batch))
        // A receiver that accepts connections and does not read would block this forever, and the end of the service too.
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
            throw ReceiverProblem("\(name) did not take the events: \(error)")
        }
    }

    private func open() async throws -> any Channel {
        if let channel, channel.isActive { return channel }
        let (context, host) = (context, host)
        do {
            let new = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(.seconds(Self.connectSeconds))
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        // An address has no host name for SNI. Its certificate must have the address.
                        let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLClientHandler(context: context, serverHostname: isAddress ? nil : host))
                    }
                }
                .connect(host: host, port: port).get()
            channel = new
            return new
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
