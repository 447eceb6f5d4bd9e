import ArgumentParser
import Authentication
import CellCrypto
import Foundation
import JSON
import Migrations
import Organizations
import PostgresClient
import Tenancy

/// Sets a deployment up, from its settings to its first organization.
struct Setup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Set a deployment up, step by step. Parts that already exist are not changed.",
        discussion: """
            Write the settings first. Run the command as the user of the service, who then owns the files. It prints each step \
            with the command that does only this step, and skips steps that are done. If a step fails, correct what it names, and \
            run the command again. With --superuser, the command makes the database's roles. It gives each role without a password \
            a new one, and writes the password into the password file (passfile) that the connection string names.
            """,
        example: """
            setup --superuser "host=db.example.com dbname=fieldseal user=postgres passfile=/root/pgpass" --org \
            contoso --person ada --client crm-import
            """)
    @Option(
        help: ArgumentHelp(
            "Connection string of a superuser, without a password: use a passfile.", valueName: "conninfo"))
    var superuser: String?
    @Option(name: .customLong("org"), help: ArgumentHelp("The first organization.", valueName: "name")) var organization: String?
    @Option(help: ArgumentHelp("The first person, a System Administrator of the organization.", valueName: "name")) var person:
        String?
    @Option(help: ArgumentHelp("Read the person's password from this file (mode 0400 or 0600).", valueName: "file"))
    var passwordFile: String?
    @Option(help: ArgumentHelp("The first client, a System Administrator of the organization.", valueName: "name")) var client:
        String?
    @OptionGroup var options: CommandOptions

    func validate() throws {
        try SetupRoles.refusePassword(in: superuser)
        guard organization != nil || person == nil && client == nil else {
            throw ValidationError("--person and --client need --org.")
        }
    }

    func run() async throws {
        let settings = try await options.readSettings()
        let log = SetupLog(json: options.json)
        try makeKey(settings, log)
        if let superuser {
            log.step("the database's roles", "fieldseal migrate bootstrap, as the superuser")
            let roles = SetupRoles(superuser: superuser, settings: settings)
            for line in try await roles.run() { log.done(line) }
        }
        try await migrate(settings, log)
        let (deployment, _) = try await options.deployment()
        if let organization {
            let secret = try await populate(organization, deployment, settings, log)
            if let secret, let client {
                log.secret(secret.id, secret.secret, another: "fieldseal client rotate \(client) --overlap 0 --org \(organization)")
            }
        }
        var trial = ConfigTrial(settings)
        await trial.run()
        do { _ = try ServerCertificate(settings) } catch { log.left("\(error)") }
        for problem in trial.problems { log.left(problem) }
        try log.end()
        await deployment.close()
    }

    private func makeKey(_ settings: Settings, _ log: SetupLog) throws {
        guard case .file(let file) = try settings.kekSource else {
            log.step("the key-encryption key", "fieldseal config check")
            return log.done("it comes from where the settings say, id \(try settings.keyEncryptionKey().id)")
        }
        log.step("the key-encryption key", "fieldseal kek create \(file)")
        if FileManager.default.fileExists(atPath: file) {
            log.done("it is there: \(file), id \(try KeyEncryptionKeyFile.read(file).id)")
        } else {
            try KeyEncryptionKeyFile.create(at: file)
            log.done(
                "made \(file), id \(try KeyEncryptionKeyFile.read(file).id). Copy it to a safe place now, apart from the database's backups"
            )
            log.done(KeyEncryptionKeyFile.readers(of: file))
        }
    }

    private func migrate(_ settings: Settings, _ log: SetupLog) async throws {
        log.step("the schemas", "fieldseal migrate up")
        let runner = MigrationRunner(conninfo: settings.migrationDatabase, completion: settings.attestationUpgrade())
        for outcome in try await runner.up() {
            if let error = outcome.error { throw error }
            log.done("\(outcome.target): \(outcome.applied.isEmpty ? "nothing to do" : "\(outcome.applied.count) migrations")")
        }
    }

    private func populate(
        _ name: String, _ deployment: Deployment, _ settings: Settings, _ log: SetupLog
    ) async throws -> (id: UUID, secret: String)? {
        let registry = OrganizationRegistry(conninfo: settings.migrationDatabase, kek: deployment.kek, policy: deployment.policy)
        log.step("the organization", "fieldseal org create \(name)")
        if try await registry.isRegistered(name) {
            log.done("it is there: \(name)")
        } else {
            _ = try await registry.create(name: name, by: commandLineCaller)
            log.done("made \(name). Copy its key to a safe place: fieldseal key show --org \(name) --file FILE")
        }
        let session = try await Session.begin(deployment, organization: name, caller: commandLineCaller)
        if let person {
            log.step("the first person", "fieldseal user add --org \(name) --role \"System Administrator\" \(person)")
            let people = try PeopleAdministration(session)
            if try await people.list().contains(where: { $0.name.lowercased() == person.lowercased() }) {
                log.done("they are there: \(person)")
            } else {
                let password = try SecretInput.read(prompt: "Password of \(person)", file: passwordFile)
                _ = try await people.add(name: person, password: password, role: .systemAdministrator)
                log.done("added \(person), who signs in at \(settings.consoleAddress(of: name))")
            }
        }
        guard let client else { return nil }
        log.step("the first client", "fieldseal client add --org \(name) --role \"System Administrator\" \(client)")
        let clients = try ClientAdministration(session)
        if try await clients.list().contains(where: { $0.name == client }) {
            log.done("it is there: \(client)")
            return nil
        }
        let added = try await clients.add(name: client, role: .systemAdministrator)
        log.done("added \(client)")
        return added
    }
}
