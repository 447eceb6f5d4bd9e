import Foundation
import JSON
import KeyManagement
import Model
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports cells in quarantine, which a key change could not open.
    func quarantined(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        var findings: [Finding] = []
        func say(_ severity: Finding.Severity, _ code: String, _ message: String, _ advice: String) {
            findings.append(Finding(severity, code, organization.name, message, advice: advice))
        }
        let quarantined = try connection.query(
            "SELECT key_version, count(*) FROM \(organization.qualified("quarantined_cell")) GROUP BY 1 ORDER BY 1")
        for row in quarantined {
            say(
                .notice, "quarantined-cells",
                "\(try row.decode(1, as: Int.self)) cells of the retired key version \(try row.decode(0, as: Int.self)) are in quarantine",
                "set these passwords again, or restore the cells from a backup; then delete them from quarantined_cell")
        }
        return findings
    }

    func key(of organization: Organization) async throws -> [Finding] {
        let (state, copied) = try await deployment.pool.withConnection { connection in
            let state = try OrganizationState.read(organization.name, in: deployment, isInspection: true, on: connection)
            let rows = try connection.query(
                "SELECT copied_on IS NOT NULL FROM config.organization_key WHERE organization_id = $1 AND key_version = $2 AND fingerprint = $3",
                [.uuid(organization.id), .int32(Int32(state.keyVersion)), .text(state.fingerprint)])
            return (state, try rows.first?.decode(0, as: Bool.self) ?? false)
        }
        // Another finding reports that the attested state does not verify, and that the organization is refused.
        guard state.problem == nil else { return [] }
        guard deployment.keyring.dataKey(of: state) != nil else {
            return [
                Finding(
                    .error, "key-required", organization.name,
                    "passwords can't be set: config has no key that opens the key check. Wanted: version \(state.keyVersion), "
                        + "fingerprint \(state.fingerprint), set on \(ISO8601.text(state.changedOn))",
                    advice: "fieldseal key activate, with the copy of the key")
            ]
        }
        var findings: [Finding] = []
        if !copied {
            findings.append(
                Finding(
                    .warning, "key-never-copied", organization.name,
                    "the key was never copied out: if config and its backups are lost, the passwords are lost too",
                    advice: "fieldseal key show; keep the key outside of the database and its backups"))
        }
        if Date().timeIntervalSince(state.changedOn) > KeyPolicy.keyLifetime {
            findings.append(
                Finding(
                    .warning, "key-overdue", organization.name, "the key is more than a year old", advice: "fieldseal key change"))
        }
        return findings
    }

    func cells(of organization: Organization) async throws -> [Finding] {
        let session = try await Session.begin(
            deployment, organization: organization.name, caller: .commandLine(user: "doctor"), isInspection: true)
        do {
            return try await KeyAdministration(session, to: .verify).verifyCells().bad.map { cell in
                Finding(
                    .error, "cell-does-not-open", organization.name,
                    "\(cell.address): \(cell.origin.map { "this is the cell of \($0)" } ?? cell.cause.rawValue)",
                    advice: "restore the cell from a backup, set the password again, or clear the password")
            }
        } catch let error as FieldsealError where error.code.asksForKey || error.code == .organizationDisabled {
            return []
        }
    }
}
