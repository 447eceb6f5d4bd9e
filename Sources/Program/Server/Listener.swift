/// An address at which the service listens, and the setting of its port.
struct Listener {
    let setting: String
    let port: Int
    let host: String

    /// The hosts that mean all addresses of the machine.
    private static let wildcards: Set = ["::", "0.0.0.0"]

    /// Whether both listeners need the same port at the same address.
    private func collides(with other: Listener) -> Bool {
        port != 0 && port == other.port
            && (host == other.host || !Self.wildcards.isDisjoint(with: [host, other.host]))
    }

    /// Refuses addresses at which the service can't listen.
    ///
    /// - Throws: ``StartError``.
    static func check(_ listeners: [Listener]) throws {
        try checkTwice(listeners)
        for listener in listeners { try listener.check() }
    }

    /// Refuses two listeners with the same port.
    ///
    /// - Throws: ``StartError/portTwice(_:_:_:)``.
    static func checkTwice(_ listeners: [Listener]) throws {
        for (index, listener) in listeners.enumerated() {
            for other in listeners[..<index] where listener.collides(with: other) {
                throw StartError.portTwice(other.setting, listener.setting, listener.port)
            }
        }
    }

    /// Refuses an address at which the service can't listen.
    ///
    /// - Throws: ``StartError``.
    func check() throws {
        guard let obstacle = Port.obstacle(port, on: host) else { return }
        guard !obstacle.isTaken else { throw StartError.portTaken(setting, port, host) }
        throw StartError.noListener(setting, port, host, reason: obstacle.reason)
    }
}

extension Settings {
    /// The addresses at which the service listens, without its unix socket.
    var listeners: [Listener] {
        var listeners = [Listener(setting: "https.port", port: httpsPort, host: httpsHost)]
        if let httpPort { listeners.append(Listener(setting: "http.port", port: httpPort, host: httpHost)) }
        if let metricsPort { listeners.append(Listener(setting: "metrics.port", port: metricsPort, host: metricsHost)) }
        return listeners
    }
}
