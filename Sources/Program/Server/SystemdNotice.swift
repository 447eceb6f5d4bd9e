import Foundation
import Glibc
import ServiceLifecycle

/// Notifies systemd of the state of a unit with `Type=notify` (sd_notify(3)): ready, alive, or stopping. Without systemd nothing is
/// sent.
enum SystemdNotice {
    case ready
    case alive
    case stopping
    /// Asks systemd to wait this long for the next notice or the process's end, even if the unit's `TimeoutStopSec` is shorter.
    case extended(Duration)

    private var text: String {
        switch self {
        case .ready: "READY=1"
        case .alive: "WATCHDOG=1"
        case .stopping: "STOPPING=1"
        case .extended(let time): "EXTEND_TIMEOUT_USEC=\(time.components.seconds * 1_000_000)"
        }
    }

    /// Sends the notification. A failure is ignored. If no notification arrives for a while, systemd treats the program as hanging.
    ///
    /// The function never waits, because it runs on a thread that serves requests. If systemd does not read for a while, for
    /// example while systemd reloads, the service continues.
    func send() {
        guard let name = ProcessInfo.processInfo.environment["NOTIFY_SOCKET"], let address = Self.address(name) else { return }
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + name.utf8.count)
        let bytes = Array(text.utf8)
        withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = sendto(descriptor, bytes, bytes.count, Int32(MSG_DONTWAIT), $0, length)
            }
        }
    }

    /// The address of systemd's socket: a path, or a name in the abstract namespace if it begins with `@`.
    private static func address(_ name: String) -> sockaddr_un? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        guard let first = bytes.first, "/@".utf8.contains(first), bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            return nil
        }
        if first == UInt8(ascii: "@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return address
    }

    /// The interval at which to notify systemd that the program is alive: half of the unit's `WatchdogSec`. Nil if the unit has no
    /// `WatchdogSec`.
    static var interval: Duration? {
        let environment = ProcessInfo.processInfo.environment
        guard let text = environment["WATCHDOG_USEC"], let microseconds = Int64(text), microseconds > 0,
            environment["WATCHDOG_PID"].map({ Int32($0) == getpid() }) ?? true
        else { return nil }
        return .microseconds(microseconds / 2)
    }
}
