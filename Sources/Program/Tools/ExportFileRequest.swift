import ArgumentParser
import Foundation
import Model
import Organizations
import Tenancy

/// Exports an organization to a file, for `org export` and before `org remove`.
struct ExportFileRequest {
    let name: String
    let file: String
    let force: Bool

    /// - Throws: ``CommandFailure`` when the file exists and must not be replaced.
    init(name: String, file: String, force: Bool) throws {
        try Self.refuseExisting(file, force: force)
        self.name = name
        self.file = file
        self.force = force
    }

    static func refuseExisting(_ file: String, force: Bool) throws {
        guard force || !FileManager.default.fileExists(atPath: file) else {
            throw CommandFailure("\(file) exists. Give the file another name, or replace it with --force.")
        }
    }

    /// - Returns: The manifest as it was written.
    func run(_ deployment: Deployment, _ settings: Settings) async throws -> ExportManifest {
        // Pending events are linked first, because their tags would not be accepted under another key-encryption key.
        try await session(deployment).chainPendingEvents()
        let snapshot = try await OrganizationSnapshot.open(
            name, in: deployment, conninfo: settings.migrationDatabase, productVersion: Program.configuration.version)
        let manifest: ExportManifest
        do {
            manifest = try await write(snapshot, deployment, settings)
        } catch {
            await snapshot.close()
            throw error
        }
        await snapshot.close()
        return manifest
    }

    private func session(_ deployment: Deployment) async throws -> Session {
        do {
            return try await Session.begin(deployment, organization: name, caller: commandLineCaller)
        } catch let error as FieldsealError where error.code == .noResource {
            // If the organization is registered but its schema is missing, the error of `Session.begin` is more precise.
            let isThere = try await OrganizationEntry.list(deployment).contains { $0.organization.name == name }
            throw isThere ? error : FieldsealError.unknownOrganization(name)
        }
    }

    private func write(_ snapshot: OrganizationSnapshot, _ deployment: Deployment, _ settings: Settings) async throws
        -> ExportManifest
    {
        let partial = try ExportFile(writing: "\(file).partial")
        do {
            try await PostgresTools(version: snapshot.serverVersion).dump(
                schema: snapshot.manifest.schema, snapshot: snapshot.id, to: partial, conninfo: settings.migrationDatabase)
            let manifest = try partial.append(
                snapshot.manifest, authenticatedUnder: snapshot.authentication(in: deployment))
            let session = try await Session.begin(deployment, organization: name, caller: commandLineCaller)
            try await OrganizationExport(session).record(manifest)
            try partial.publish(as: file, replacing: force)
            return manifest
        } catch {
            partial.discard()
            throw error
        }
    }
}
