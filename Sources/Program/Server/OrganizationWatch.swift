import PostgresClient
import ServiceLifecycle
import Tenancy

/// Reads the list of a database's organizations when it changes: at each notification, and once a minute.
struct OrganizationWatch: ServiceLifecycle.Service {
    let places: OrganizationPlaces
    let name: String
    let conninfo: String

    /// The channel that the trigger of `config.organization` notifies.
    private static let channel = "fieldseal_organizations"
    private static let interval = Duration.seconds(60)
    /// The pause after a failure.
    private static let retryInterval = Duration.seconds(2)
    /// The shortest time between two reads, even with many notifications.
    private static let pause = Duration.milliseconds(200)

    func run() async throws {
        let listener = NotificationListener(conninfo: conninfo, channel: Self.channel)
        let (changes, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                await listener.run {
                    continuation.yield()
                } onNotice: { _ in
                    continuation.yield()
                }
            }
            group.addTask {
                await cancelWhenGracefulShutdown { await read(at: changes) { continuation.yield() } }
                listener.stop()
            }
        }
    }

    /// Reads the list at each change.
    ///
    /// - Parameter repeat: Requests one more reading. Called when the interval has passed without a change.
    private func read(at changes: AsyncStream<Void>, repeat: @escaping @Sendable () -> Void) async {
        var timer: Task<Void, any Error>?
        for await _ in changes {
            timer?.cancel()
            let isRead = await places.refresh(name)
            try? await Task.sleep(for: Self.pause)
            timer = Task {
                try await Task.sleep(for: isRead ? Self.interval : Self.retryInterval)
                `repeat`()
            }
        }
        timer?.cancel()
    }
}
