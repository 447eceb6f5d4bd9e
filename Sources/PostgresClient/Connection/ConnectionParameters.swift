import CLibPQ
import Foundation

/// The parameters of a connection string, by keyword.
public enum ConnectionParameters {
    /// The keywords and values of a connection string or URI, without libpq's defaults.
    ///
    /// - Throws: ``PostgresError`` of kind `usage` when the string is malformed. libpq's message quotes the string, so the error
    ///   does not contain that message.
    public static func parse(_ conninfo: String) throws -> [(keyword: String, value: String)] {
        guard let options = PQconninfoParse(conninfo, nil) else {
            throw PostgresError(kind: .usage, message: "the connection string is malformed")
        }
        defer { PQconninfoFree(options) }
        var parameters: [(String, String)] = []
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { parameters.append((String(cString: keyword), String(cString: value))) }
            option += 1
        }
        return parameters
    }

    /// One way to connect: keywords and values for libpq.
    struct Attempt {
        fileprivate var keywords: [String]
        fileprivate var values: [String]

        func connect() -> OpaquePointer? {
            withCStrings(keywords) { keywords in
                withCStrings(values) { values in PQconnectdbParams(keywords, values, 1) }
            }
        }
    }

    /// The default time limits: seconds for connecting to one host, and milliseconds for data without an acknowledgement. Without
    /// these limits, libpq would wait without limit to connect, and TCP would report a broken connection only after about 15
    /// minutes.
    private static let defaults = [("client_encoding", "UTF8"), ("connect_timeout", "10"), ("tcp_user_timeout", "30000")]

    /// Seconds for connecting to one of several hosts, or to a standby. The limit is short, because another host or the primary
    /// can be tried next.
    private static let secondsForOneOfSeveral = "3"

    /// One host of a connection string.
    struct Host: Sendable {
        /// The host's name in messages.
        let name: String
        fileprivate let values: [(String, String)]
    }

    /// The hosts that a connection string names. Empty if the lists of hosts, addresses and ports have different lengths; libpq
    /// then reports the difference.
    static func hosts(_ parameters: [(keyword: String, value: String)]) -> [Host] {
        func list(_ keyword: String) -> [String] {
            let value = parameters.last { $0.keyword == keyword }?.value
            return value?.split(separator: ",", omittingEmptySubsequences: false).map(String.init) ?? []
        }
        let (names, addresses, ports) = (list("host"), list("hostaddr"), list("port"))
        let count = max(names.count, addresses.count)
        guard count > 0, [0, count].contains(names.count), [0, count].contains(addresses.count),
            [0, 1, count].contains(ports.count)
        else { return [] }
        return (0..<count).map { place in
            var values: [(String, String)] = []
            if !names.isEmpty { values.append(("host", names[place])) }
            if !addresses.isEmpty { values.append(("hostaddr", addresses[place])) }
            if !ports.isEmpty { values.append(("port", ports[ports.count == 1 ? 0 : place])) }
            let name = names.isEmpty ? addresses[place] : names[place]
            return Host(name: ports.count > 1 ? "\(name):\(ports[place])" : name, values: values)
        }
    }

    /// The parameters that connect to one of the hosts, even if it does not accept writes.
    static func attempt(_ conninfo: String, applicationName: String, host: Host) -> Attempt {
        let before = [("fallback_application_name", applicationName)] + defaults + [("connect_timeout", secondsForOneOfSeveral)]
        let all = before + [("dbname", conninfo)] + host.values + [("target_session_attrs", "any")]
        return Attempt(keywords: all.map(\.0), values: all.map(\.1))
    }

    /// Whether a connection string requests a standby.
    static func requestsStandby(_ conninfo: String) -> Bool {
        (try? parse(conninfo))?.last { $0.keyword == "target_session_attrs" }?.value == "standby"
    }

    /// The attempts in order. With several hosts, first a host that accepts writes, then any host, so that reads continue.
    static func attempts(_ conninfo: String, applicationName: String) -> [Attempt] {
        func attempt(_ more: [(String, String)] = []) -> Attempt {
            // libpq expands the first `dbname`, so that a URI or a string can follow defaults.
            let all = [("fallback_application_name", applicationName)] + defaults + more + [("dbname", conninfo)]
            return Attempt(keywords: all.map(\.0), values: all.map(\.1))
        }
        let parameters = (try? parse(conninfo)) ?? []
        let hosts =
            parameters.filter { ["host", "hostaddr"].contains($0.keyword) }.map(\.value).joined()
            + (ProcessInfo.processInfo.environment["PGHOST"] ?? "")
        let isChosen =
            parameters.contains { $0.keyword == "target_session_attrs" }
            || ProcessInfo.processInfo.environment["PGTARGETSESSIONATTRS"] != nil
        if requestsStandby(conninfo) { return [attempt([("connect_timeout", secondsForOneOfSeveral)])] }
        guard hosts.contains(","), !isChosen else { return [attempt()] }
        return [attempt([("target_session_attrs", "read-write")]), attempt()]
    }
}

private func withCStrings<Result>(_ strings: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Result) -> Result {
    let copies = strings.map { strdup($0) }
    defer { copies.forEach { free($0) } }
    return body(copies.map { UnsafePointer($0) } + [nil])
}
