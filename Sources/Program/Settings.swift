import Configuration
import Fieldseal
import Foundation
import Logging
import SystemPackage
import WebAPI
import Yams

/// How a deployment is reached and run: one file, YAML or JSON, with `FIELDSEAL_*` variables over it.
struct Settings: Sendable {
    var database = ""
    var migrationDatabase = ""
    var connections = 16
    var kekFile = ""
    /// Nil where nobody says that there is a copy.
    var kekCopyFile: String?
    var baseURL = ""
    var httpsHost = "::"
    var httpsPort = 8443
    var certificateFile = ""
    var privateKeyFile = ""
    var httpHost = "::"
    /// Nil for no listener without TLS.
    var httpPort: Int?
    /// PEM certificates of the authorities of trusted OpenID providers; nil for the system's.
    var issuerAuthorityFile: String?
    /// Seconds that a statement of a request may run.
    var statementSeconds = 30
    /// Database connections that the requests of one caller may hold at a time; nil for half of ``connections``.
    var clientConnections: Int?
    /// The applications at authorization servers of mail servers, and PEM certificates of those servers' authorities.
    var mailApplicationsFile: String?
    var mailAuthorityFile: String?
    /// Attempts at sending an e-mail, at most.
    var mailAttempts = 10
    var logLevel = Logger.Level.info
    var policy = KeyPolicy()
    var limits = APILimits()

    /// Where the file is looked for, in this order.
    static func candidates(_ option: String?) -> [String] {
        let environment = ProcessInfo.processInfo.environment
        if let option { return [option] }
        if let path = environment["FIELDSEAL_SETTINGS"] { return [path] }
        if let home = environment["FIELDSEAL_HOME"] { return ["\(home)/fieldseal.yaml"] }
        return [".fieldseal/fieldseal.yaml", "/etc/fieldseal/fieldseal.yaml"]
    }

    /// Reads the settings.
    ///
    /// - Parameters:
    ///   - option: The file that the command line names.
    ///   - ports: Ports that were chosen already, where a variable may have said 0.
    /// - Throws: ``SettingsError`` for a missing file, an unknown key, or a value that does not fit.
    static func read(_ option: String? = nil, ports: (https: Int, http: Int)? = nil) async throws -> Settings {
        let candidates = candidates(option)
        guard let path = candidates.first(where: { FileManager.default.fileExists(atPath: $0) }) else {
            throw SettingsError.missing(candidates)
        }
        try refuseUnknownKeys(path)
        let file = try await FileProvider<YAMLSnapshot>(filePath: FilePath(path))
        let environment = EnvironmentVariablesProvider().prefixKeys(with: "fieldseal")
        var settings = try Settings(ConfigReader(providers: [environment, file]))
        if let ports { (settings.httpsPort, settings.httpPort) = (ports.https, ports.http) }
        return settings
    }

    private init() {}

    private init(_ reader: ConfigReader) throws {
        func text(_ key: ConfigKey, _ value: inout String) { value = reader.string(forKey: key, default: value) }
        func number(_ key: ConfigKey, _ value: inout Int, _ range: ClosedRange<Int>) throws {
            value = reader.int(forKey: key, default: value)
            guard range.contains(value) else { throw SettingsError.outOfRange("\(key)", range) }
        }
        func optional(_ key: ConfigKey, _ value: inout Int?, _ range: ClosedRange<Int>) throws {
            guard let given = reader.int(forKey: key) else { return }
            guard range.contains(given) else { throw SettingsError.outOfRange("\(key)", range) }
            value = given
        }
        text("database", &database)
        text("migrationDatabase", &migrationDatabase)
        try number("connections", &connections, 2...1_000)
        text("kekFile", &kekFile)
        kekCopyFile = reader.string(forKey: "kekCopyFile")
        text("baseURL", &baseURL)
        text("https.host", &httpsHost)
        try number("https.port", &httpsPort, 0...65_535)
        text("https.certificateFile", &certificateFile)
        text("https.privateKeyFile", &privateKeyFile)
        text("http.host", &httpHost)
        try optional("http.port", &httpPort, 0...65_535)
        issuerAuthorityFile = reader.string(forKey: "issuers.authorityFile")
        mailApplicationsFile = reader.string(forKey: "mail.applicationsFile")
        mailAuthorityFile = reader.string(forKey: "mail.authorityFile")
        try number("mail.attempts", &mailAttempts, 1...100)
        let level = reader.string(forKey: "log.level", default: logLevel.rawValue)
        guard let known = Logger.Level(rawValue: level) else { throw SettingsError.unknownLevel(level) }
        logLevel = known
        try number("keys.iterations", &policy.iterations, 210_000...10_000_000)
        try optional("keys.changeQuota", &policy.changeQuota, 1...1_000_000)
        try number("keys.quotaSeconds", &policy.quotaInterval, 1...31_536_000)
        var patience = Int(policy.patience.components.seconds)
        try number("keys.patienceSeconds", &patience, 1...86_400)
        policy.patience = .seconds(patience)
        try number("limits.headSeconds", &limits.headSeconds, 1...3_600)
        try number("limits.bodySeconds", &limits.bodySeconds, 1...3_600)
        try number("limits.idleSeconds", &limits.idleSeconds, 1...86_400)
        try number("limits.connections", &limits.connections, 1...100_000)
        try number("limits.requests", &limits.requests, 1...100_000)
        try optional("limits.clientRequests", &limits.clientRequests, 1...100_000_000)
        try number("limits.clientSeconds", &limits.clientSeconds, 1...86_400)
        try optional("limits.clientConcurrency", &limits.clientConcurrency, 1...100_000)
        try optional("limits.handshakeSeconds", &limits.handshakeLimit, 1...3_600)
        try optional("limits.addressConnections", &limits.addressConnections, 1...100_000)
        try number("limits.statementSeconds", &statementSeconds, 1...86_400)
        try optional("limits.clientConnections", &clientConnections, 1...1_000)
        limits.takesProxyProtocol = reader.bool(forKey: "https.proxyProtocol", default: false)
        limits.trustedProxies = try (reader.stringArray(forKey: "trustedProxies") ?? []).map { text in
            guard let network = IPNetwork(text.trimmingCharacters(in: .whitespaces)) else {
                throw SettingsError.malformedNetwork(text)
            }
            return network
        }
        if limits.takesProxyProtocol, limits.trustedProxies.isEmpty { throw SettingsError.required("trustedProxies") }
        limits.allowsPlaintextMail = reader.bool(forKey: "mail.allowsPlaintext", default: false)
        if baseURL.isEmpty { baseURL = "https://localhost:\(httpsPort)" }
        if baseURL.hasSuffix("/") { baseURL.removeLast() }
        for (name, value) in [("database", database), ("kekFile", kekFile)] where value.isEmpty {
            throw SettingsError.required(name)
        }
        if migrationDatabase.isEmpty { migrationDatabase = database }
    }

    /// Where mail servers' access tokens come from.
    func mailTokens() throws -> MailTokens {
        try mailApplicationsFile.map { try MailTokens(file: $0, authorityFile: mailAuthorityFile) } ?? MailTokens()
    }

    /// What is in force, under the keys that a file has it under, without passwords.
    var shown: [(key: String, value: String)] {
        func optional<Value>(_ value: Value?) -> String { value.map { "\($0)" } ?? "none" }
        return [
            ("database", Self.hidden(database)), ("migrationDatabase", Self.hidden(migrationDatabase)),
            ("connections", "\(connections)"),
            ("kekFile", kekFile), ("kekCopyFile", optional(kekCopyFile)), ("baseURL", baseURL),
            ("https.host", httpsHost), ("https.port", "\(httpsPort)"), ("https.certificateFile", certificateFile),
            ("https.privateKeyFile", privateKeyFile), ("http.host", httpHost), ("http.port", optional(httpPort)),
            ("issuers.authorityFile", optional(issuerAuthorityFile)), ("mail.allowsPlaintext", "\(limits.allowsPlaintextMail)"),
            ("mail.applicationsFile", optional(mailApplicationsFile)), ("mail.attempts", "\(mailAttempts)"),
            ("mail.authorityFile", optional(mailAuthorityFile)), ("log.level", logLevel.rawValue),
            ("keys.iterations", "\(policy.iterations)"), ("keys.changeQuota", optional(policy.changeQuota)),
            ("keys.quotaSeconds", "\(policy.quotaInterval)"), ("keys.patienceSeconds", "\(policy.patience.components.seconds)"),
            ("limits.headSeconds", "\(limits.headSeconds)"), ("limits.bodySeconds", "\(limits.bodySeconds)"),
            ("limits.idleSeconds", "\(limits.idleSeconds)"), ("limits.connections", "\(limits.connections)"),
            ("limits.requests", "\(limits.requests)"), ("limits.clientRequests", optional(limits.clientRequests)),
            ("limits.handshakeSeconds", "\(limits.handshakeLimit ?? limits.headSeconds)"),
            ("limits.addressConnections", optional(limits.addressConnections)),
            ("limits.statementSeconds", "\(statementSeconds)"), ("limits.clientConnections", optional(clientConnections)),
            ("https.proxyProtocol", "\(limits.takesProxyProtocol)"),
            ("trustedProxies", limits.trustedProxies.map(\.description).joined(separator: ",")),
            ("limits.clientSeconds", "\(limits.clientSeconds)"), ("limits.clientConcurrency", optional(limits.clientConcurrency)),
        ]
    }

    /// A connection string without the values of its passwords.
    private static func hidden(_ conninfo: String) -> String {
        conninfo
            .replacing(#/((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)/#.ignoresCase()) { "\($0.output.1)****" }
            .replacing(#/(://[^:/@]*:)[^@]*@/#) { "\($0.output.1)****@" }
    }

    /// Every key that a file may have.
    static let keys = Set(Settings().shown.map(\.key))

    /// The library looks keys up and lists none, so a misspelt one would be passed over in silence.
    private static func refuseUnknownKeys(_ path: String) throws {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let root: Any?
        do {
            root = try Yams.load(yaml: text)
        } catch {
            throw SettingsError.malformed(path)
        }
        guard root == nil || root is [String: Any] else { throw SettingsError.malformed(path) }
        for key in flattened(root as? [String: Any] ?? [:]).sorted() where !keys.contains(key) {
            throw SettingsError.unknownKey(key, path)
        }
    }

    private static func flattened(_ object: [String: Any]) -> [String] {
        object.flatMap { name, value -> [String] in
            guard let inner = value as? [String: Any] else { return [name] }
            return flattened(inner).map { "\(name).\($0)" }
        }
    }
}

/// The settings can't be used.
enum SettingsError: Error, CustomStringConvertible {
    case missing([String])
    case malformed(String)
    case unknownKey(String, String)
    case outOfRange(String, ClosedRange<Int>)
    case unknownLevel(String)
    case malformedNetwork(String)
    case required(String)

    var description: String {
        switch self {
        case .missing(let paths):
            "there are no settings at \(paths.joined(separator: " or ")); name a file with --settings, "
                + "or start a deployment for trying with `fieldseal dev`"
        case .malformed(let path): "\(path) is neither YAML nor JSON with an object at its top"
        case .unknownKey(let key, let path):
            "\(path) has the unknown key \(key); known are \(Settings.keys.sorted().joined(separator: ", "))"
        case .outOfRange(let key, let range): "\(key) takes \(range.lowerBound) to \(range.upperBound)"
        case .malformedNetwork(let text):
            "trustedProxies has \(text.prefix(100)), which is no network; write each as 192.0.2.0/24, 2001:db8::/32 or one address"
        case .unknownLevel(let level): "log.level is trace, debug, info, notice, warning, error or critical, not \(level)"
        case .required(let key): "the settings lack \(key)"
        }
    }
}
