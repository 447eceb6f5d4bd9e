import Model
package import Tenancy

/// The export of an organization, which a System Administrator may make.
///
/// The initializer checks the caller's role, so the methods do not check it again.
package struct OrganizationExport: Sendable {
    private let session: Session

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    package init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "export an organization")
        self.session = session
    }

    /// Records that the organization's cells were exported to a file.
    package func record(_ manifest: ExportManifest) async throws {
        try await session.record(
            SecurityEvent(
                .organizationExported, .succeeded, keyVersion: manifest.keyVersion, fingerprint: manifest.fingerprint,
                details: "\(manifest.cellCount) cells, SHA-256 \(manifest.dumpDigest)"))
    }
}
