import Foundation
import Synchronization

/// The servers of a connection string, and which of them is the primary as far as this process knows. Used for connection strings
/// with several hosts. Also used for a single host if the string requests the primary, because then the host may be a load balancer
/// in front of several servers.
///
/// Each promotion of a standby begins a new timeline. A server that accepts writes on an older timeline than the newest known one
/// is a former primary. Writes to it would be lost. A former primary is skipped, and connections to it are closed.
final class KnownServers: Sendable {
    private struct Member {
        weak var canceller: Canceller?
        let timeline: UInt32
    }

    private struct State {
        /// The identifier of the database cluster, also on its standbys; nil if servers do not report it.
        var system: String?
        /// The newest timeline on which a server accepted writes; 0 before any server did.
        var timeline: UInt32 = 0
        /// The host that accepted writes last.
        var primary = 0
        var members: [Member] = []
    }

    let hosts: [ConnectionParameters.Host]
    /// Whether to use a read-only server if no server accepts writes.
    let allowsReading: Bool
    private let state = Mutex(State())
    private static let all = Mutex<[String: KnownServers]>([:])

    private init(_ hosts: [ConnectionParameters.Host], allowsReading: Bool) {
        (self.hosts, self.allowsReading) = (hosts, allowsReading)
    }

    /// The servers of a connection string; nil if it names one host without requesting the primary, or if its
    /// `target_session_attrs` allows or requires other servers.
    static func of(_ conninfo: String) -> KnownServers? {
        if let known = all.withLock({ $0[conninfo] }) { return known }
        guard let parameters = try? ConnectionParameters.parse(conninfo) else { return nil }
        let hosts = ConnectionParameters.hosts(parameters)
        let target =
            parameters.last { $0.keyword == "target_session_attrs" }?.value
            ?? ProcessInfo.processInfo.environment["PGTARGETSESSIONATTRS"]
        guard hosts.count > (target == nil ? 1 : 0), [nil, "read-write", "primary"].contains(target) else { return nil }
        return all.withLock { all in
            let servers = all[conninfo] ?? KnownServers(hosts, allowsReading: target == nil)
            all[conninfo] = servers
            return servers
        }
    }

    /// The indexes of the hosts in the order of attempts: first the one that accepted writes last.
    var order: [Int] {
        let primary = state.withLock(\.primary)
        return [primary] + hosts.indices.filter { $0 != primary }
    }

    /// Decides whether a server that accepts writes is the primary, as far as this process knows. If its timeline is new,
    /// connections to former primaries are closed, because their servers may be paused or isolated and would never respond.
    ///
    /// - Parameters:
    ///   - system: The identifier of the database cluster. Another cluster has its own timelines, for example after an upgrade.
    ///   - timeline: Nil if the server does not report it.
    func admit(_ system: String?, _ timeline: UInt32?, at place: Int) -> Bool {
        let (isAdmitted, former) = state.withLock { state -> (Bool, [Canceller]) in
            guard let timeline else {
                state.primary = place
                return (true, [])
            }
            let isSame = state.system == system
            guard !isSame || timeline >= state.timeline else { return (false, []) }
            (state.system, state.timeline, state.primary) = (system, timeline, place)
            let former = state.members.filter { !isSame || $0.timeline < timeline }
            state.members.removeAll { !isSame || $0.canceller == nil || $0.timeline < timeline }
            return (true, former.compactMap(\.canceller))
        }
        for canceller in former { canceller.cut() }
        return isAdmitted
    }

    /// Whether a server on this timeline is a former primary.
    func isFormer(_ timeline: UInt32?) -> Bool { timeline.map { $0 < newest } ?? false }

    /// Whether a server that accepts writes has a newer timeline than the primary that this process knows.
    func isNewer(_ system: String?, _ timeline: UInt32?) -> Bool {
        guard let timeline else { return false }
        return state.withLock { $0.timeline > 0 && $0.system == system && timeline > $0.timeline }
    }

    /// The newest timeline on which a server accepted writes.
    var newest: UInt32 { state.withLock(\.timeline) }

    /// Remembers an open connection to a primary, to close it when another server becomes the primary.
    func register(_ canceller: Canceller, _ timeline: UInt32) {
        let isLate = state.withLock { state in
            state.members.removeAll { $0.canceller == nil }
            state.members.append(Member(canceller: canceller, timeline: timeline))
            return timeline < state.timeline
        }
        if isLate { canceller.cut() }
    }
}
