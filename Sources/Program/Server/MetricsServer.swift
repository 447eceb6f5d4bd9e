import ArgumentParser
import HTTPTypes
import Hummingbird
import Logging
import MetricsFormat

/// `GET /metrics` on a separate listener without TLS, for the same machine or a private network.
enum MetricsServer {
    /// - Parameter write: Adds the current metrics.
    static func application(
        host: String, port: Int, logger: Logger, write: @escaping @Sendable (inout MetricsText) async -> Void
    ) -> some ApplicationProtocol {
        let router = Hummingbird.Router()
        let figures = ProcessFigures(version: Program.configuration.version)
        router.get("metrics") { request, _ -> Response in
            let format = MetricsText.Format(accept: request.headers[.accept])
            var text = MetricsText(format)
            figures.write(to: &text)
            await write(&text)
            return Response(
                status: .ok, headers: [.contentType: format.contentType], body: .init(byteBuffer: ByteBuffer(string: text.text)))
        }
        var quiet = logger
        quiet.logLevel = .warning
        return Application(
            router: router, configuration: .init(address: .hostname(host, port: port), serverName: nil),
            onServerRunning: { channel in
                logger.notice("listening for metrics", metadata: ["port": "\(channel.localAddress?.port ?? port)"])
            }, logger: quiet)
    }
}
