import KeyManagement
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports flags without a cell, and cells without a flag.
    func passwordFlags(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        let state = try OrganizationState.read(organization.name, on: connection)
        return try FlagMismatch.all(in: state, on: connection).map { mismatch in
            Finding(
                .error, mismatch.hasCell ? "cell-without-flag" : "flag-without-cell", organization.name,
                "\(mismatch.address): \(mismatch.description)",
                advice: "restore it from a backup, set the password again, or clear it")
        }
    }
}
