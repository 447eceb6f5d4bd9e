import CellCrypto
import Foundation
import PostgresClient

/// Walks a deployment and says what is wrong.
public struct Doctor: Sendable {
    let deployment: Deployment
    /// Reads what only an owner or a superuser may see.
    let administrativeConninfo: String
    let kekFile: String
    let kekCopyFile: String?
    let allowedLag: Int

    /// - Parameters:
    ///   - administrativeConninfo: The connection string that migrations use.
    ///   - kekFile: The path of the key-encryption key.
    ///   - kekCopyFile: The path of its copy, where the deployment says that there is one.
    ///   - allowedLag: How far a replica may be behind, in MiB of write-ahead log.
    public init(
        _ deployment: Deployment, administrativeConninfo: String, kekFile: String, kekCopyFile: String?, allowedLag: Int = 64
    ) {
        self.deployment = deployment
        self.administrativeConninfo = administrativeConninfo
        self.kekFile = kekFile
        self.kekCopyFile = kekCopyFile
        self.allowedLag = allowedLag
    }

    /// Everything that was found, the worst first.
    ///
    /// - Parameter opensCells: Whether every cell is opened too.
    /// - Throws: ``PostgresError`` when the database can't be reached.
    public func findings(opensCells: Bool) async throws -> [Finding] {
        var findings = try await deployment.pool.withConnection { try service(on: $0) }
        findings += try await migrations() + keyEncryptionKey()
        let connection = try await PostgresConnection.connect(
            administrativeConninfo, applicationName: "fieldseal doctor")
        findings += try await connection.run { connection in
            try server(on: connection) + replicas(on: connection) + config(on: connection)
        }
        for entry in try await OrganizationEntry.list(deployment) {
            let organization = entry.organization
            findings += try await connection.run { connection in
                try fences(of: organization, opensCells ? .whole : .recent(limit: 100_000), on: connection)
                    + attestation(of: organization, on: connection) + passwordFlags(of: organization, on: connection)
            }
            findings += try await key(of: organization)
            if opensCells { findings += try await cells(of: organization) }
        }
        await connection.close()
        return Self.sorted(findings)
    }

    /// What the service's own role sees of the deployment and of one organization: nothing of the others.
    public func findings(of organization: Organization) async throws -> [Finding] {
        let seen = try await deployment.pool.withConnection { connection in
            try service(on: connection) + server(on: connection) + config(on: connection)
                + fences(of: organization, .recent(limit: 5_000), on: connection) + attestation(of: organization, on: connection)
        }
        let mine = seen.filter { $0.subject == organization.name || $0.subject == Finding.deployment }
        return Self.sorted(try await mine + keyEncryptionKey() + key(of: organization))
    }

    private static func sorted(_ findings: [Finding]) -> [Finding] {
        findings.sorted { ($1.severity, $0.subject, $0.code) < ($0.severity, $1.subject, $1.code) }
    }
}
