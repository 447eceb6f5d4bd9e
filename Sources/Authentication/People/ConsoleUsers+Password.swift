import CellCrypto
import Foundation
import Model
import PostgresClient
package import Tenancy

extension ConsoleUsers {
    /// Whether a person's password is this one. A development deployment asks that before it says a password.
    package func hasPassword(_ password: String, _ name: String, by session: Session) async throws -> Bool {
        try session.requireSystemAdministrator(to: "manage console users")
        let found = try await deployment.pool.withConnection { connection -> (Row, [SecretBytes])? in
            guard let user = try find("u.name = $2", [.text(name)], in: session.state, on: connection) else { return nil }
            return (user, try VerifierLayers.read(of: user, under: deployment.kek, on: connection))
        }
        guard let (user, layers) = found else { return false }
        let derived = try await deployment.hashing.derive(password, salt: user.salt, for: Self.network(session.caller))
        let check = try deployment.hashing.check(derived, stored: user.verifier, salt: user.salt, layers: layers)
        return check == .current || check == .outdated
    }
}
