import Foundation
import Synchronization

/// The servers that a connection string with several hosts names, and what this process learned of them.
///
/// Each promotion of a standby begins a new timeline. So a server that takes writes on an older timeline than one that was seen before
/// is a former primary, whose writes would be lost: it is passed over, and connections to it end.
final class KnownServers: Sendable {
    private struct Member {
        weak var canceller: Canceller?
        let timeline: UInt32
    }

    private struct State {
        /// What names the database cluster, also on its standbys; nil where servers do not tell.
        var system: String?
        /// The newest timeline on which a server took writes; 0 before the first.
        var timeline: UInt32 = 0
        /// The host that took writes last.
        var primary = 0
        var members: [Member] = []
    }

    let hosts: [ConnectionParameters.Host]
    /// Whether a server that takes no writes is better than none.
    let allowsReading: Bool
    private let state = Mutex(State())
    private static let all = Mutex<[String: KnownServers]>([:])

    private init(_ hosts: [ConnectionParameters.Host], allowsReading: Bool) {
        (self.hosts, self.allowsReading) = (hosts, allowsReading)
    }

    /// The servers of a connection string; nil when it names one host, or asks for others than the primary.
    static func of(_ conninfo: String) -> KnownServers? {
        if let known = all.withLock({ $0[conninfo] }) { return known }
        guard let parameters = try? ConnectionParameters.parse(conninfo) else { return nil }
        let hosts = ConnectionParameters.hosts(parameters)
        let target =
            parameters.last { $0.keyword == "target_session_attrs" }?.value
            ?? ProcessInfo.processInfo.environment["PGTARGETSESSIONATTRS"]
        guard hosts.count > 1, [nil, "read-write", "primary"].contains(target) else { return nil }
        return all.withLock { all in
            let servers = all[conninfo] ?? KnownServers(hosts, allowsReading: target == nil)
            all[conninfo] = servers
            return servers
        }
    }

    /// The places of the hosts in the order in which to try them: first the one that took writes last.
    var order: [Int] {
        let primary = state.withLock(\.primary)
        return [primary] + hosts.indices.filter { $0 != primary }
    }

    /// Whether a server that takes writes is the primary, as far as this process knows. When its timeline is new, connections to former
    /// primaries are cut: their servers may be paused or cut off, and would never answer.
    ///
    /// - Parameters:
    ///   - system: What names the database cluster. Timelines of another one begin anew, such as after an upgrade.
    ///   - timeline: Nil where the server does not tell.
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

    /// The newest timeline on which a server took writes.
    var newest: UInt32 { state.withLock(\.timeline) }

    /// Remembers an open connection to a primary, to cut it when another server takes its place.
    func register(_ canceller: Canceller, _ timeline: UInt32) {
        let isLate = state.withLock { state in
            state.members.removeAll { $0.canceller == nil }
            state.members.append(Member(canceller: canceller, timeline: timeline))
            return timeline < state.timeline
        }
        if isLate { canceller.cut() }
    }
}
