import KeyManagement
import PostgresClient
import Tenancy

extension Doctor {
    /// Reports records whose flag says that a password is set but that have no cell, and records with a cell whose flag says the
    /// opposite.
    func passwordFlags(of organization: Organization, on connection: isolated PostgresConnection) throws -> [Finding] {
        let state = try OrganizationState.read(organization.name, on: connection)
        return try FlagMismatch.all(in: state, on: connection).map { mismatch in
            Finding(
                .error, mismatch.hasCell ? "cell-without-flag" : "flag-without-cell", organization.name,
                "\(mismatch.address): \(mismatch.description)",
                advice: "restore the record and its cell from a backup, set the password again, or clear the password")
        }
    }
}
