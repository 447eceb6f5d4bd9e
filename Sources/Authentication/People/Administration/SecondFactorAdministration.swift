import PostgresClient
package import Tenancy

/// Lets a System Administrator choose the roles whose people need one-time passwords.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct SecondFactorAdministration: Sendable {
    private let session: Session

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "require one-time passwords")
        self.session = session
    }

    /// Requires one-time passwords of people in the added roles, and no longer of people in the removed roles. People in an added
    /// role who have no one-time passwords must turn them on before they can open another page.
    package func change(adding added: Set<Role>, removing removed: Set<Role>) async throws {
        try await session.deployment.pool.withConnection { connection in
            try SecondFactorPolicy.change(
                adding: added, removing: removed, in: session.organization, by: session.caller, under: session.deployment.kek,
                on: connection)
        }
    }
}
