import PostgresClient
package import Tenancy

/// What a System Administrator may do with the roles in which people need one-time passwords: change them.
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

    /// Requires one-time passwords of the people in some roles, and no longer of those in others. People without one must turn them
    /// on at their next page.
    package func change(adding added: Set<Role>, removing removed: Set<Role>) async throws {
        try await session.deployment.pool.withConnection { connection in
            try SecondFactorPolicy.change(
                adding: added, removing: removed, in: session.organization, by: session.caller, under: session.deployment.kek,
                on: connection)
        }
    }
}
