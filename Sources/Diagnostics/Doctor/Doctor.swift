import CellCrypto
import Foundation
import Model
import Organizations
import PostgresClient
package import Tenancy

/// Examines a deployment and reports problems. The examination changes nothing.
package struct Doctor: Sendable {
    let deployment: Deployment
    /// The connection string for checks that only the owner or a superuser can do.
    let administrativeConninfo: String
    let keyFiles: KeyFileCheck
    let allowedLag: Int
    /// Whether the settings name a receiver of security events.
    let shipsEvents: Bool
    /// Returns findings of the program outside of the database, such as certificates that expire.
    private let besides: @Sendable () -> [Finding]

    /// - Parameters:
    ///   - administrativeConninfo: The connection string that migrations use.
    ///   - kekFile: The path of the key-encryption key's file; nil if the key does not come from a file.
    ///   - kekCopyFile: The path of the file's copy; nil if the settings name none.
    ///   - allowedLag: How far a replica may be behind, in MiB of write-ahead log.
    ///   - shipsEvents: Whether the settings name a receiver of security events.
    ///   - besides: Returns findings that do not come from the database.
    package init(
        _ deployment: Deployment, administrativeConninfo: String, kekFile: String?, kekCopyFile: String?, allowedLag: Int = 64,
        shipsEvents: Bool = false,
        besides: @escaping @Sendable () -> [Finding] = { [] }
    ) {
        self.deployment = deployment
        self.administrativeConninfo = administrativeConninfo
        keyFiles = KeyFileCheck(file: kekFile, copy: kekCopyFile, keyIDs: deployment.kek.ids)
        self.allowedLag = allowedLag
        self.shipsEvents = shipsEvents
        self.besides = besides
    }

    /// All findings about the deployment, and about one organization or all of them.
    ///
    /// - Parameters:
    ///   - name: The organization; nil for all.
    ///   - opensCells: Whether to open every cell, and verify all security events and audit entries.
    ///   - limit: How many findings of each code are kept at most.
    /// - Throws: ``PostgresError`` when the database is unreachable; ``FieldsealError`` `.noResource` for an unknown organization.
    package func report(organization name: String? = nil, opensCells: Bool, limit: Int) async throws -> FindingReport {
        var report = FindingReport(limit: limit)
        let connection = try await connect()
        report.add(try await connection.run { try owners(on: $0) })
        var entries: [OrganizationEntry] = []
        var isWrong = false
        let unread = try await part("the list of organizations") {
            if let wrong = try await deployment.pool.withConnection({ try wrongKeyEncryptionKey(on: $0) }) {
                isWrong = true
                return [wrong]
            }
            entries = try await OrganizationEntry.list(deployment)
            return []
        }
        report.add(unread)
        if isWrong {
            await connection.close()
            return report
        }
        entries = entries.filter { name == nil || $0.organization.name == name }
        if let name, entries.isEmpty, unread.isEmpty { throw FieldsealError.noSuchOrganization(name) }
        report.add(try await wholeDeployment(name, on: connection))
        var reference: SchemaReference?
        report.add(
            try await part("the schemas") {
                let (found, problems) = try await connection.run { try schemas(on: $0) }
                reference = found
                return problems
            }.filter { Self.isWanted($0, name) })
        await connection.close()
        return try await examine(entries, reference, opensCells: opensCells, into: report)
    }

    private static func isWanted(_ finding: Finding, _ name: String?) -> Bool {
        name == nil || finding.subject == name || finding.subject == Finding.deployment
    }

    /// Findings about the deployment as a whole.
    ///
    /// - Parameter name: If set, findings that name another organization are left out; nil for all.
    private func wholeDeployment(_ name: String?, on connection: PostgresConnection) async throws -> [Finding] {
        var findings = try await part("the service's role") { try await deployment.pool.withConnection { try service(on: $0) } }
        findings += try await part("the running servers") { try await deployment.pool.withConnection { try refusals(on: $0) } }
        findings += try await part("the moves") { try await deployment.pool.withConnection { try moves(on: $0) } }
        findings += try await part("the token-signing keys") {
            try await deployment.pool.withConnection { try signingKeys(on: $0) + archiveKeys(on: $0) }
        }
        findings += try await part("the migrations") { try await migrations(of: name) }
        findings += try await part("the files and settings") { try await keyFiles.findings() + connectionStrings() + besides() }
        findings += try await part("the server") {
            try await connection.run {
                try server(on: $0) + database(on: $0) + replicas(on: $0) + administrationPassword(on: $0)
            }
        }
        findings += try await part("the surroundings") { try await connection.run { try surroundings(on: $0) } }
        findings += try await part("config") { try await connection.run { try config(on: $0) } }
        return findings.filter { Self.isWanted($0, name) }
    }

    static let applicationName = "fieldseal doctor"

    func connect() async throws -> PostgresConnection {
        let connection = try await PostgresConnection.connect(administrativeConninfo, applicationName: Self.applicationName)
        try await connection.limitLocks(to: Self.lockLimit)
        return connection
    }

    /// Findings about the deployment and one organization's guards, as the service's own role sees them. The cost does not depend
    /// on the number of records.
    package func findings(of organization: Organization) async throws -> [Finding] {
        let seen = try await deployment.pool.withConnection { connection in
            try service(on: connection) + server(on: connection) + refusals(on: connection)
                + config(of: organization, on: connection)
                + triggers(of: organization, on: connection) + leaves(of: organization, on: connection)
        }
        let mine = seen.filter { $0.subject == organization.name || $0.subject == Finding.deployment }
        return Self.sorted(try await mine + keyFiles.findings() + key(of: organization) + besides())
    }

    /// Findings about an organization's records, as the service's own role sees them. The cost grows with the number of records.
    package func findingsAmongRecords(of organization: Organization) async throws -> [Finding] {
        let found = try await deployment.pool.withConnection { connection in
            try events(of: organization, .recent(limit: Self.recentEvents), on: connection)
                + audit(of: organization, .recent(entries: Self.recentEvents), on: connection)
                + quarantined(of: organization, on: connection) + attestation(of: organization, on: connection)
        }
        return Self.sorted(try await found + MailDestinationFindings.findings(of: organization, in: deployment))
    }

    /// How many of the newest security events and entries of the audit are verified.
    private static let recentEvents = 5_000

    /// The differences between an organization's schema and the program's migrations. Used for an imported schema.
    package func definitions(of organization: Organization) async throws -> [Finding] {
        let connection = try await connect()
        let findings = try await connection.run { connection in
            let registry = OrganizationRegistry(conninfo: administrativeConninfo, kek: deployment.kek, policy: deployment.policy)
            return try structure(of: organization, SchemaReference.make(registry, on: connection), on: connection)
        }
        await connection.close()
        return Self.sorted(findings)
    }

    /// Examines one organization. A problem there does not end the examination of the other organizations.
    func everything(
        of entry: OrganizationEntry,
        _ reference: SchemaReference?,
        opensCells: Bool,
        on connection: PostgresConnection
    ) async throws -> [Finding] {
        let organization = entry.organization
        let missing = try await part("its schema", of: organization.name) {
            try await connection.run { try whole(organization, on: $0).map { [$0] } ?? [] }
        }
        guard missing.isEmpty else { return missing }
        var findings = Self.name(of: organization)
        func look(_ what: String, _ body: () async throws -> [Finding]) async throws {
            findings += try await part(what, of: organization.name, body)
        }
        if let reference, try await isNewest(organization) {
            try await look("its schema") { try await connection.run { try structure(of: organization, reference, on: $0) } }
            try await look("its audit") { try await connection.run { try auditSettings(of: organization, reference, on: $0) } }
        } else {
            try await look("its triggers") { try await connection.run { try triggers(of: organization, on: $0) } }
        }
        try await look("its generations") {
            try await connection.run { try leaves(of: organization, on: $0) + heldSnapshots(of: organization, on: $0) }
        }
        let extent: EventChainExtent = opensCells ? .whole : .recent(limit: 100_000)
        try await look("its events") { try await connection.run { try events(of: organization, extent, on: $0) } }
        let entries: AuditExtent = opensCells ? .whole : .recent(entries: Self.recentEntries)
        try await look("its sealed audit") { try await connection.run { try audit(of: organization, entries, on: $0) } }
        try await look("its shipped events") { try await connection.run { try shipping(of: organization, on: $0) } }
        try await look("its quarantine") { try await connection.run { try quarantined(of: organization, on: $0) } }
        try await look("what is attested") { try await connection.run { try attestation(of: organization, on: $0) } }
        try await look("its clients") { try await connection.run { try clientSecrets(of: organization, on: $0) } }
        try await look("its people") { try await connection.run { try verifierLayers(of: organization, on: $0) } }
        try await look("its flags") { try await connection.run { try passwordFlags(of: organization, on: $0) } }
        try await look("its lost passwords") { try await connection.run { try lostPasswords(of: organization, on: $0) } }
        try await look("its records") {
            try await connection.run {
                try missingRecords(of: organization, on: $0) + missingRoles(of: organization, on: $0)
                    + moments(of: organization, on: $0)
            }
        }
        try await look("its key-encryption key") {
            try await connection.run { try retiredKeyEncryptionKey(of: organization, on: $0) }
        }
        try await look("its key") { try await key(of: organization) }
        try await look("its mail servers") { try await MailDestinationFindings.findings(of: organization, in: deployment) }
        if opensCells { try await look("its cells") { try await cells(of: organization) } }
        return findings
    }

    /// Reports a reserved name, which an organization got by SQL or from an earlier version.
    private static func name(of organization: Organization) -> [Finding] {
        guard Organization.isOfService(organization.name) else { return [] }
        return [
            Finding(
                .error, "name-of-service", organization.name,
                "the service uses this name for its own addresses, so no person can sign in to the organization",
                advice: "give the organization another name: fieldseal org rename \(organization.name) NEW-NAME")
        ]
    }

    /// Findings in the order in which they are shown: the worst first.
    package static func sorted(_ findings: [Finding]) -> [Finding] {
        findings.sorted { ($1.severity, $0.subject, $0.code) < ($0.severity, $1.subject, $1.code) }
    }
}
