import Authentication
import CellCrypto
import Email
import Foundation
import Glibc
import Logging
import Tenancy
import WebAPI

/// The settings of a deployment: one file in YAML or JSON, which `FIELDSEAL_*` variables override.
struct Settings: Sendable {
    /// The file that was read.
    var file = ""
    var database = ""
    var migrationDatabase = ""
    /// The connection string of a standby that runs lists; empty for none.
    var standbyDatabase = ""
    /// Connection strings by the databases' names, instead of ``database`` if there are several.
    var databases: [String: String] = [:]
    /// Connection strings for migrations, for the databases in ``databases``.
    var migrationDatabases: [String: String] = [:]
    /// Connection strings for standbys, for the databases in ``databases``.
    var standbyDatabases: [String: String] = [:]
    /// The systemd credential with the passwords of the roles in the connection strings.
    var databasePasswordsCredential: String?
    var connections = 16
    var kekFile = ""
    /// The source of the key-encryption key, if it is not ``kekFile``.
    var kekCredential: String?
    var kekCommand: [String] = []
    var kekToken = TokenSettings()
    /// The source of the new key-encryption key during a rotation.
    var newKekFile: String?
    var newKekCredential: String?
    var newKekCommand: [String] = []
    var newKekToken = TokenSettings()
    /// A copy of the key-encryption key, for the doctor to check; nil for none.
    var kekCopyFile: String?
    /// The key-encryption keys of databases that have their own.
    var databaseKeks = DatabaseKeks()
    /// The name of the database that these settings are for; nil if none was selected.
    var selectedDatabase: String?
    var baseURL = ""
    /// Organizations with a host of their own, by that host. At the host, an organization's addresses begin at the root.
    var hosts: [String: String] = [:]
    var httpsHost = "::"
    var httpsPort = 8443
    var certificateFile = ""
    var privateKeyFile = ""
    /// PEM files by host. All other hosts use ``certificateFile`` and ``privateKeyFile``.
    var hostCertificateFiles: [String: String] = [:]
    var hostPrivateKeyFiles: [String: String] = [:]
    /// Whether clients may use certificates, and the CA certificates in PEM for them.
    var asksForClientCertificates = "off"
    var clientAuthorityFile: String?
    var httpHost = "::"
    /// The port of the listener without TLS; nil for no such listener.
    var httpPort: Int?
    /// The receiver of security events: `HOST:PORT` of syslog over TLS, or a file.
    var eventSyslog: String?
    var eventSyslogAuthorityFile: String?
    var eventSyslogCertificateFile: String?
    var eventSyslogPrivateKeyFile: String?
    var eventFile: String?
    /// Seconds after which servers seal new entries of the audit.
    var sealSeconds = 60
    /// The unix socket for a proxy on the same machine; nil for none.
    var socketPath: String?
    var socketMode = "0660"
    /// CA certificates in PEM for trusted OpenID providers; nil for the system's.
    var issuerAuthorityFile: String?
    /// The time limit of a request's statement in seconds.
    var statementSeconds = 30
    /// How many milliseconds a list waits for the standby to replay what the primary has written.
    var standbyMilliseconds = 100
    /// Seconds for which a stopping server continues to serve, while `/readyz` reports that it stops.
    var drainSeconds = 0
    /// How many database connections one caller's requests may hold at a time; nil for half of ``connections``.
    var clientConnections: Int?
    /// The applications at mail servers' authorization servers, and CA certificates in PEM for those servers.
    var mailApplicationsFile: String?
    var mailAuthorityFile: String?
    /// How many attempts at sending an e-mail are made.
    var mailAttempts = 10
    var metricsHost = "127.0.0.1"
    /// The port of the listener for metrics; nil for none.
    var metricsPort: Int?
    /// Days after which `fieldseal retention` archives or deletes; nil to keep everything.
    var eventDays: Int?
    var auditDays: Int?
    var emailDays: Int?
    /// The folder for archives.
    var archiveFolder: String?
    var logLevel = Logger.Level.info
    var policy = KeyPolicy()
    var limits = APILimits()

    /// The places where the file is looked for, in order.
    static func candidates(_ option: String?) -> [String] {
        let environment = ProcessInfo.processInfo.environment
        if let option { return [option] }
        if let path = environment["FIELDSEAL_SETTINGS"] { return [path] }
        if let home = environment["FIELDSEAL_HOME"] { return ["\(home)/fieldseal.yaml"] }
        return [FoundSettings.path, "/etc/fieldseal/fieldseal.yaml"]
    }

    /// Reads the settings.
    ///
    /// - Parameters:
    ///   - option: The file in the command line.
    ///   - ports: Ports that were chosen already, for variables with the value 0.
    /// - Throws: ``SettingsError`` for a missing file, an unknown key, or an invalid value.
    static func read(_ option: String? = nil, ports: (https: Int, http: Int)? = nil) async throws -> Settings {
        let candidates = candidates(option)
        // If this user may not enter a folder, a file may exist there. That file's path is chosen, so that the error says that the
        // file can't be read, not that it is missing. If this user may not enter the working folder, the file there is skipped,
        // because after `runuser` the folder often belongs to another user.
        guard let path = candidates.first(where: { access($0, F_OK) == 0 || errno == EACCES && $0 != FoundSettings.path }) else {
            throw SettingsError.missing(candidates)
        }
        if candidates.count > 1, path == FoundSettings.path { try FoundSettings.check() }
        var settings = Settings()
        settings.file = path
        let file = try SettingsFile(path, table)
        let variables = try SettingsVariables(ProcessInfo.processInfo.environment, table)
        for (setting, value) in file.values + variables.values { setting.write(&settings, value) }
        if let ports { (settings.httpsPort, settings.httpPort) = (ports.https, ports.http) }
        try settings.complete()
        try DatabasePasswords.use(settings)
        return settings
    }

    /// The address at which people of an organization sign in.
    func consoleAddress(of organization: String) -> String { "\(baseURL)/\(organization)/" }

    private init() {}

    /// The default values of all settings.
    static let defaults = Settings()

    /// Every setting, in the order of the output.
    static var table: [Setting] {
        [
            .text("database", \.database, .connection),
            .text("migrationDatabase", \.migrationDatabase, .connection),
            .connections("databases", \.databases),
            .connections("migrationDatabases", \.migrationDatabases),
            .text("standbyDatabase", \.standbyDatabase, .connection),
            .connections("standbyDatabases", \.standbyDatabases),
            .text("databasePasswords.credential", \.databasePasswordsCredential, .text),
            .integer("connections", \.connections, 2...1_000),
            .text("kekFile", \.kekFile, .file),
            .text("kekCopyFile", \.kekCopyFile),
            .databases("kekFiles", \.databaseKeks.files, .files),
            .databases("kekCredentials", \.databaseKeks.credentials, .credentials),
            .commands("kekCommands", \.databaseKeks.commands),
            .databases("kekCopyFiles", \.databaseKeks.copyFiles, .files),
            .databases("newKekFiles", \.databaseKeks.newFiles, .files),
            .databases("newKekCredentials", \.databaseKeks.newCredentials, .credentials),
            .commands("newKekCommands", \.databaseKeks.newCommands),
            .command("kek.command", \.kekCommand),
            .text("kek.credential", \.kekCredential, .text),
            .command("newKek.command", \.newKekCommand),
            .text("newKek.credential", \.newKekCredential, .text),
            .text("newKek.file", \.newKekFile),
            .text("kek.pkcs11.label", \.kekToken.label, .text),
            .text("kek.pkcs11.module", \.kekToken.module),
            .text("kek.pkcs11.pinFile", \.kekToken.pinFile),
            .text("kek.pkcs11.sealedFile", \.kekToken.sealedFile),
            .text("kek.pkcs11.token", \.kekToken.token, .text),
            .text("newKek.pkcs11.label", \.newKekToken.label, .text),
            .text("newKek.pkcs11.module", \.newKekToken.module),
            .text("newKek.pkcs11.pinFile", \.newKekToken.pinFile),
            .text("newKek.pkcs11.sealedFile", \.newKekToken.sealedFile),
            .text("newKek.pkcs11.token", \.newKekToken.token, .text),
            .text("baseURL", \.baseURL, .address),
            .hosts("hosts", \.hosts, .organizations),
            .networks("trustedProxies", \.limits.trustedProxies),
            .origins("allowedOrigins", \.limits.allowedOrigins),
            .text("https.host", \.httpsHost),
            .integer("https.port", \.httpsPort, 0...65_535),
            .text("https.certificateFile", \.certificateFile, .file),
            .text("https.privateKeyFile", \.privateKeyFile, .file),
            .hosts("https.hostCertificateFiles", \.hostCertificateFiles, .files),
            .hosts("https.hostPrivateKeyFiles", \.hostPrivateKeyFiles, .files),
            .text("https.clientCertificates", \.asksForClientCertificates, .choice(["off", "optional"])),
            .text("https.clientAuthorityFile", \.clientAuthorityFile),
            .flag("https.proxyProtocol", \.limits.takesProxyProtocol),
            .text("http.host", \.httpHost),
            .integer("http.port", \.httpPort, 0...65_535),
            .text("events.file", \.eventFile),
            .integer("events.sealSeconds", \.sealSeconds, 1...86_400),
            .text("events.syslog", \.eventSyslog, .text),
            .text("events.syslogAuthorityFile", \.eventSyslogAuthorityFile),
            .text("events.syslogCertificateFile", \.eventSyslogCertificateFile),
            .text("events.syslogPrivateKeyFile", \.eventSyslogPrivateKeyFile),
            .text("socket.path", \.socketPath),
            .text("socket.mode", \.socketMode, .choice(["0600", "0660", "0666"])),
            .text("issuers.authorityFile", \.issuerAuthorityFile),
            .flag("mail.allowsPlaintext", \.limits.allowsPlaintextMail),
            .text("mail.applicationsFile", \.mailApplicationsFile),
            .integer("mail.attempts", \.mailAttempts, 1...100),
            .text("mail.authorityFile", \.mailAuthorityFile),
            .text("metrics.host", \.metricsHost),
            .integer("metrics.port", \.metricsPort, 0...65_535),
            .integer("retention.eventDays", \.eventDays, 1...36_500),
            .integer("retention.auditDays", \.auditDays, 1...36_500),
            .integer("retention.emailDays", \.emailDays, 1...36_500),
            .text("retention.folder", \.archiveFolder),
            .text("log.level", \.logLevelName, .choice(Logger.Level.allCases.map(\.rawValue))),
            .text("log.requests", \.loggedRequests, .choice(RequestLog.Extent.allCases.map(\.rawValue))),
            .integer("log.sampling", \.limits.log.sampling, 1...1_000_000),
            .integer("keys.iterations", \.policy.iterations, 210_000...10_000_000),
            .text("passwords.derivation", \.derivationName, .choice(PasswordVerifier.Derivation.allCases.map(\.rawValue))),
            .integer("keys.changeQuota", \.policy.changeQuota, 1...1_000_000),
            .integer("keys.quotaSeconds", \.policy.quotaInterval, 1...31_536_000),
            .integer("keys.patienceSeconds", \.patienceSeconds, 1...86_400),
            .integer("https.drainSeconds", \.drainSeconds, 0...3_600),
            .integer("limits.handshakeSeconds", \.limits.handshakeLimit, 1...3_600),
            .integer("limits.headSeconds", \.limits.headSeconds, 1...3_600),
            .integer("limits.bodySeconds", \.limits.bodySeconds, 1...3_600),
            .integer("limits.idleSeconds", \.limits.idleSeconds, 1...86_400),
            .integer("limits.connections", \.limits.connections, 1...100_000),
            .integer("limits.addressConnections", \.limits.addressConnections, 1...100_000),
            .integer("limits.requests", \.limits.requests, 1...100_000),
            .integer("limits.clientRequests", \.limits.clientRequests, 1...100_000_000),
            .integer("limits.clientSeconds", \.limits.clientSeconds, 1...86_400),
            .integer("limits.clientConcurrency", \.limits.clientConcurrency, 1...100_000),
            .integer("limits.clientConnections", \.clientConnections, 1...1_000),
            .integer("limits.statementSeconds", \.statementSeconds, 1...86_400),
            .integer("limits.standbyMilliseconds", \.standbyMilliseconds, 0...10_000),
        ]
    }

    private var logLevelName: String {
        get { logLevel.rawValue }
        set { logLevel = Logger.Level(rawValue: newValue) ?? logLevel }
    }

    private var derivationName: String {
        get { policy.passwordDerivation.rawValue }
        set { policy.passwordDerivation = PasswordVerifier.Derivation(rawValue: newValue) ?? policy.passwordDerivation }
    }

    private var loggedRequests: String {
        get { limits.log.extent.rawValue }
        set { limits.log.extent = RequestLog.Extent(rawValue: newValue) ?? limits.log.extent }
    }

    /// The unix socket, if there is one.
    var unixSocket: UnixSocket? { socketPath.map { UnixSocket(path: $0, mode: mode_t(socketMode, radix: 8) ?? 0o600) } }

    private var patienceSeconds: Int {
        get { Int(policy.patience.components.seconds) }
        set { policy.patience = .seconds(newValue) }
    }

    /// Fills in values that are derived from other settings.
    private mutating func complete() throws(SettingsError) {
        for setting in Self.table where setting.isRequired && setting.read(self) == .text("") { throw .required(setting.key) }
        if databases.isEmpty { _ = try kekSource }
        _ = try newKekSource
        if limits.takesProxyProtocol, limits.trustedProxies.isEmpty { throw .required("trustedProxies") }
        try checkEvents()
        if let socketPath, !socketPath.hasPrefix("/") || socketPath.utf8.count > UnixSocket.longestPath {
            throw .misfit(
                key: "socket.path", takes: "an absolute path of \(UnixSocket.longestPath) bytes at most", given: socketPath,
                place: file)
        }
        if asksForClientCertificates == "optional" {
            limits.clientCertificates = clientAuthorityFile == nil ? .selfSigned : .fromAuthority
        } else if clientAuthorityFile != nil {
            throw .misfit(
                key: "https.clientAuthorityFile", takes: "a file where https.clientCertificates is optional", given: "a file",
                place: file)
        }
        if baseURL.isEmpty { baseURL = "https://localhost:\(httpsPort)" }
        try completeDatabases()
        let base = baseURL.dropFirst("https://".count).lowercased()
        if let host = hosts.keys.first(where: { $0 == base || $0 == base.prefix { $0 != ":" } }) {
            throw .misfit(key: "hosts", takes: "hosts other than the one of baseURL", given: host, place: "baseURL is \(baseURL)")
        }
    }

    private func checkEvents() throws(SettingsError) {
        if eventFile != nil, eventSyslog != nil { throw .several(["events.file", "events.syslog"]) }
        if let eventSyslog, syslogAddress == nil {
            throw .misfit(key: "events.syslog", takes: "HOST:PORT, such as logs.example.com:6514", given: eventSyslog, place: file)
        }
        guard (eventSyslogCertificateFile == nil) == (eventSyslogPrivateKeyFile == nil) else {
            throw .required(eventSyslogCertificateFile == nil ? "events.syslogCertificateFile" : "events.syslogPrivateKeyFile")
        }
        if eventSyslog == nil, eventSyslogAuthorityFile != nil || eventSyslogCertificateFile != nil {
            throw .required("events.syslog")
        }
    }

    /// The receiver of syslog; nil if there is none, or its name is not a host with a port.
    private var syslogAddress: (host: String, port: Int)? {
        guard let match = eventSyslog?.wholeMatch(of: /([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):([1-9][0-9]{0,4})/),
            let port = Int(match.2),
            port <= 65_535
        else { return nil }
        return (match.1.trimmingCharacters(in: ["[", "]"]), port)
    }

    /// The receiver of security events; nil for none.
    func eventReceiver() throws -> (any EventReceiver)? {
        if let eventFile { return EventFile(path: eventFile) }
        return try syslogAddress.map {
            try SyslogReceiver(
                host: $0.host, port: $0.port, authorityFile: eventSyslogAuthorityFile, certificateFile: eventSyslogCertificateFile,
                privateKeyFile: eventSyslogPrivateKeyFile)
        }
    }

    /// The addresses of organizations.
    var addresses: ServiceAddresses { ServiceAddresses(baseURL: baseURL, hosts: hosts) }

    /// The source of mail servers' access tokens.
    func mailTokens() throws -> MailOAuthTokens {
        try mailApplicationsFile.map { try MailOAuthTokens(file: $0, authorityFile: mailAuthorityFile) } ?? MailOAuthTokens()
    }

    /// The values in force, under their keys in a file, without passwords.
    var shown: [(key: String, value: Setting.Value)] {
        Self.table.map { setting in
            switch (setting.kind, setting.read(self)) {
            case (.connection, .text(let conninfo)): (setting.key, .text(Self.hidden(conninfo)))
            case (.connections, .table(let conninfos)): (setting.key, .table(conninfos.mapValues(Self.hidden)))
            case (_, let value): (setting.key, value)
            }
        }
    }

    /// A connection string without the values of its passwords.
    private static func hidden(_ conninfo: String) -> String {
        conninfo
            .replacing(#/((?:ssl)?password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)/#.ignoresCase()) { "\($0.output.1)****" }
            .replacing(#/(://[^:/@]*:)[^@]*@/#) { "\($0.output.1)****@" }
    }
}
