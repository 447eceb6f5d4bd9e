import Hummingbird
import Logging
import MailRouter

/// `GET /metrics` of a router, for its machine or its network.
enum RouterMetricsServer {
    static func application(_ metrics: RouterMetrics, host: String, port: Int, logger: Logger) -> some ApplicationProtocol {
        let router = Hummingbird.Router()
        router.get("metrics") { _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
                body: .init(byteBuffer: ByteBuffer(string: metrics.text)))
        }
        var quiet = logger
        quiet.logLevel = .warning
        return Application(
            router: router, configuration: .init(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { channel in
                logger.notice("metrics", metadata: ["port": "\(channel.localAddress?.port ?? port)"])
            }, logger: quiet)
    }
}
