import ArgumentParser
import Authentication
import CellCrypto
import Foundation
import Glibc
import JSON
import Logging
import Migrations
import Model
import Organizations
import PostgresClient
import Tenancy

/// Runs everything on this machine, for trying and developing.
struct Dev: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run everything on this machine, for trying and developing, until Ctrl-C.",
        discussion: """
            Starts a private PostgreSQL, makes a key-encryption key, a certificate authority and a certificate, migrates, creates \
            the organization contoso with sample records, and serves. All of it is kept in FIELDSEAL_HOME (./.fieldseal), and the \
            next start uses it again. FIELDSEAL_HTTPS_PORT and FIELDSEAL_HTTP_PORT choose the ports; 0 takes a free one.
            """,
        example: "dev")

    func run() async throws {
        let home = try DevelopmentHome()
        let lock = try Self.lock(home)
        defer { close(lock) }
        let postgres = try DevelopmentPostgres(home)
        LoggingSystem.bootstrap { label in JSONLogHandler(label: label) }
        // A key-encryption key is made only with a new cluster, because the data of an old cluster does not open under a new key.
        let kekFile = home.file("kek")
        if !postgres.isInitialized, !FileManager.default.fileExists(atPath: kekFile) {
            try KeyEncryptionKeyFile.create(at: kekFile)
        }
        Self.say("Starting PostgreSQL in \(home.path) …")
        try await postgres.run { try await Self.serve(home, postgres) }
    }

    /// Locks a development folder for this process. The lock ends with the process, even if the process is killed.
    private static func lock(_ home: DevelopmentHome) throws -> Int32 {
        let descriptor = open(home.file("lock"), O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else { throw DevelopmentError.running(home: home.path) }
        return descriptor
    }

    private static func serve(_ home: DevelopmentHome, _ postgres: DevelopmentPostgres) async throws {
        let httpsPort = try Port.choose("FIELDSEAL_HTTPS_PORT", usual: 8443)
        let httpPort = try Port.choose("FIELDSEAL_HTTP_PORT", usual: 8080)
        try DevelopmentCertificates(home: home).prepare()
        let kekFile = home.file("kek")
        let servicePassword = Data(try randomBytes(count: 24)).base64URL
        let conninfo = try await postgres.prepareDatabase(servicePassword: servicePassword)
        let superuser = postgres.conninfo(database: "fieldseal")
        try home.write(
            """
            # Each `fieldseal dev` writes this file again.
            database: "\(conninfo)"
            migrationDatabase: "\(superuser)"
            kekFile: "\(kekFile)"
            baseURL: "https://localhost:\(httpsPort)"
            https:
              port: \(httpsPort)
              certificateFile: "\(home.file("server.pem"))"
              privateKeyFile: "\(home.file("server.key"))"
            http:
              port: \(httpPort)

            """, to: "fieldseal.yaml")
        let runner = MigrationRunner(conninfo: superuser)
        try await runner.bootstrap()
        try await runner.recovery()
        try await postgres.setServicePassword(servicePassword)
        let settings = try await Settings.read(home.file("fieldseal.yaml"), ports: (httpsPort, httpPort))
        for outcome in try await MigrationRunner(conninfo: superuser, completion: settings.attestationUpgrade()).up() {
            for note in outcome.notes { say(note) }
            if let error = outcome.error { throw error }
        }
        let file = try await prepareOrganization(home, settings, superuser: superuser)
        try file.write(home)
        var logger = Logger(label: "fieldseal")
        logger.logLevel = settings.logLevel
        try await HTTPService(settings: settings, logger: logger).run(with: RouterProcess()) { say(welcome(file, home)) }
        say("Stopping PostgreSQL …")
    }

    private static func prepareOrganization(
        _ home: DevelopmentHome,
        _ settings: Settings,
        superuser: String
    ) async throws -> DevelopmentFile {
        let kek = try settings.keyEncryptionKey()
        let pool = ConnectionPool(.init(conninfo: settings.database, limit: 2))
        let deployment = Deployment(conninfo: settings.database, pool: pool, kek: kek, policy: settings.policy)
        let name = "contoso"
        let before = DevelopmentFile.read(home)
        if try await OrganizationEntry.list(deployment).isEmpty {
            let registry = OrganizationRegistry(conninfo: superuser, kek: kek, policy: settings.policy)
            do {
                _ = try await registry.create(name: name, by: commandLineCaller)
            } catch let error as FieldsealError where error.code == .duplicateRecord {
                // The schema exists, and `config` does not list it. The user has to attach the schema.
                say("The schema of \(name) exists, but config has no row for it. Run: fieldseal org attach \(name)")
            }
        }
        var file = DevelopmentFile(
            baseURL: settings.baseURL, httpURL: "http://localhost:\(settings.httpPort ?? 0)", caFile: home.file("ca.pem"),
            organization: name, postgres: superuser, clients: before?.clients ?? [:], console: before?.console)
        // The start continues if the organization is refused, for example under a wrong key-encryption key. A later start may serve
        // the organization.
        if let session = try? await Session.begin(deployment, organization: name, caller: commandLineCaller) {
            file.clients = try await prepareClients(session, before?.clients ?? [:])
            file.console = try await preparePerson(session, before?.console)
            try file.write(home)
            try await createSamples(home, deployment, file)
        }
        await pool.close()
        return file
    }

    private static func prepareClients(
        _ session: Session,
        _ before: [String: DevelopmentFile.Client]
    ) async throws -> [String: DevelopmentFile.Client] {
        let administration = try ClientAdministration(session)
        let known = try await administration.list().filter { $0.isAuthentic && $0.disabledOn == nil }
        var clients: [String: DevelopmentFile.Client] = [:]
        let roles: KeyValuePairs<String, Role> = [
            "admin": .systemAdministrator, "user": .basicUser, "router": .emailRouter,
        ]
        for (name, role) in roles {
            if let client = before[name], known.contains(where: { $0.id.text == client.clientId }) {
                clients[name] = client
            } else {
                // If a client's secret was lost, that client still has its name. So the new client's name gets a number.
                let taken = try await administration.list().filter { $0.name.hasPrefix("dev-\(name)") }.count
                let (id, secret) = try await administration.add(
                    name: taken == 0 ? "dev-\(name)" : "dev-\(name)-\(taken + 1)", role: role)
                clients[name] = DevelopmentFile.Client(clientId: id.text, clientSecret: secret)
            }
        }
        return clients
    }

    private static func preparePerson(
        _ session: Session,
        _ before: DevelopmentFile.Person?
    ) async throws -> DevelopmentFile.Person? {
        let people = try PeopleAdministration(session)
        let name = "admin"
        let known = try await people.list().first { $0.name == name }
        if let before, known?.isAuthentic == true, known?.disabledOn == nil {
            guard let password = before.password, try await !people.hasPassword(password, name) else { return before }
            return DevelopmentFile.Person(username: name, password: nil)
        }
        // A person's row that does not verify is left unchanged. Under a wrong key-encryption key no row verifies, and the service
        // reports the wrong key itself.
        if known?.isAuthentic == false { return before }
        let password = Data(try randomBytes(count: 12)).base64EncodedString().filter { $0.isLetter || $0.isNumber }
        if known == nil {
            _ = try await people.add(name: name, password: password, role: .systemAdministrator)
        } else {
            try await people.reset(name, password: password)
        }
        return DevelopmentFile.Person(username: name, password: password)
    }

    private static func createSamples(_ home: DevelopmentHome, _ deployment: Deployment, _ file: DevelopmentFile) async throws {
        let marker = home.file("samples-created")
        guard !FileManager.default.fileExists(atPath: marker) else { return }
        func session(_ name: String) async throws -> Session {
            guard let id = file.clients[name].flatMap({ UUID(text: $0.clientId) }) else {
                throw DevelopmentError.cannotWrite("dev.json")
            }
            return try await Session.begin(
                deployment, organization: file.organization, client: id, address: nil, requestID: "dev")
        }
        guard let user = try await session("user").caller.systemUserID else { return }
        try await DevelopmentSamples(session: try await session("admin"), user: user).create()
        try home.write("", to: "samples-created")
    }

    private static func say(_ text: String) { CommandOutput.line(text) }

    private static func signIn(_ person: DevelopmentFile.Person?) -> String {
        guard let person else { return "no person" }
        return "\(person.username), " + (person.password.map { "password \($0)" } ?? "with the password that was set since")
    }

    private static func welcome(_ file: DevelopmentFile, _ home: DevelopmentHome) -> String {
        """

        Fieldseal serves the organization \(file.organization) at \(file.baseURL). Ctrl-C stops it.
        The console: \(file.baseURL)/\(file.organization)/ as \(signIn(file.console)).
        The clients and their secrets are in \(home.file(DevelopmentFile.name)). To try it, in another terminal:

          dev() { jq -r "$1" \(home.file(DevelopmentFile.name)); }
          api="$(dev .baseURL)/\(file.organization)/api/data/v9.2"; ca=$(dev .caFile)
          token=$(curl -s --cacert "$ca" "$(dev .baseURL)/\(file.organization)/oauth2/v2.0/token" -d grant_type=client_credentials -d "client_id=$(dev .clients.admin.clientId)" --data-urlencode "client_secret=$(dev .clients.admin.clientSecret)" | jq -r .access_token)
          curl -s --cacert "$ca" -H "Authorization: Bearer $token" "$api/mailboxes?\\$select=name,password,ispasswordset" | jq
          psql "$(dev .postgres)" -c "SELECT * FROM config.encryption_status"

        """
    }
}
