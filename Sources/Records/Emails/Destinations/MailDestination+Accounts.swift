package import CellCrypto
package import PostgresClient
package import Tenancy

extension MailDestination {
    /// Adds user names to the tags of settings, in an organization whose tags do not cover them yet.
    ///
    /// Settings with a valid tag are authorized with their present user names. Other settings do not change.
    package static func authorizeAccounts(
        in organization: Organization, under kek: KeyEncryptionKey, on connection: isolated PostgresConnection
    ) throws {
        var profiles: [MailDestination] = []
        for (destination, tag) in try all(in: organization, on: connection) {
            let wasTagged = ["emailserverprofile", "mailbox"].contains(destination.place.entity)
            let isBound = try tag.map { try destination.fits($0, in: organization, under: kek) } ?? false
            let wasAuthorized =
                try tag.map { try destination.fitsWithoutAccounts($0, in: organization, under: kek) }
                ?? (!wasTagged || destination.value("emailserverprofile") == nil && !destination.isProfile)
            guard !isBound, wasAuthorized else { continue }
            try destination.authorize(in: organization, under: kek, on: connection)
            if destination.isProfile { profiles.append(destination) }
        }
        try renewGrants(of: profiles, in: organization, under: kek, on: connection)
    }

    /// Replaces the tags of profiles in the attested list. The list has the tag of each profile that was changed after its
    /// creation.
    private static func renewGrants(
        of profiles: [MailDestination], in organization: Organization, under kek: KeyEncryptionKey,
        on connection: isolated PostgresConnection
    ) throws {
        guard !profiles.isEmpty else { return }
        try AttestedState.change(of: organization, under: kek, on: connection) { change in
            for profile in profiles {
                let grant = Grant.mailServer(profile.place.id, tag: try profile.tag(in: organization, under: kek))
                if try change.names(grant.name) { _ = try change.grant(grant) }
            }
        }
    }
}
