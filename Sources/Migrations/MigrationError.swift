/// The reason for which a migration was not applied.
package enum MigrationError: Error, Sendable, CustomStringConvertible {
    /// The roles and the schema `cell` do not exist: bootstrap.sql was not applied to the database.
    case notBootstrapped
    /// The connected role may not act as `fieldseal_owner`. For the service's role that is intended.
    case mayNotBecomeOwner(role: String, isService: Bool)
    /// A file was changed after it was applied.
    case changedAfterApplied(target: String, name: String)
    /// The database has a migration that this program does not know.
    case newerDatabase(target: String, name: String)
    /// A migration can't be undone.
    case cannotBeUndone(target: String, name: String)
    /// A migration needs the key-encryption key, which was not given.
    case needsKeyEncryptionKey(name: String)
    /// No target has this name.
    case unknownTarget(String)
    /// An organization's schema, or its ledger, does not exist.
    case schemaMissing(target: String)
    /// The schema's own ledger differs from `config`'s.
    case ledgersDiffer(target: String, schema: [String])
    /// The database's encoding is not UTF8.
    case encoding(String)
    /// A migration's SQL failed; it was rolled back.
    case failed(target: String, name: String, reason: String)

    /// What an operator does next.
    package var advice: String {
        guard case .ledgersDiffer(let target, _) = self else { return "fieldseal migrate verify" }
        return
            "find out which of the two ledgers was changed, and by whom. If the ledger of the schema lacks rows, run as the owner: INSERT INTO "
            + "org_\(target.replacing("-", with: "_")).migration SELECT name, checksum, milliseconds, applied_on, applied_by FROM config.migration WHERE organization_id = "
            + "(SELECT organization_id FROM config.organization WHERE name = '\(target)') ON CONFLICT DO NOTHING. Else restore config.migration "
            + "from a backup"
    }

    package var description: String {
        switch self {
        case .notBootstrapped:
            "the database lacks the roles of Fieldseal; apply migrations/bootstrap.sql as a superuser, "
                + "by hand or with `fieldseal migrate bootstrap`"
        case .mayNotBecomeOwner(let role, true):
            "the role \(role) is the service's, and must not act as fieldseal_owner, which may remove the guards; set migrationDatabase to the "
                + "role that migrates, such as fieldseal_migrator"
        case .mayNotBecomeOwner(let role, false):
            "role \(role) may not act as fieldseal_owner; a superuser can allow it: GRANT fieldseal_owner TO \(role)"
        case .changedAfterApplied(let target, let name):
            "\(target): migration \(name) was changed after it was applied; restore the file, and put the change into a new one"
        case .newerDatabase(let target, let name):
            "\(target): the database has migration \(name), which this program does not know; use the newer program"
        case .cannotBeUndone(let target, let name):
            "\(target): there is no way back from \(name); restore a backup that was made before it, with the program of that time"
        case .needsKeyEncryptionKey(let name):
            "config: migration \(name) attests every organization with the key-encryption key, which could not be read; check kekFile "
                + "in the settings"
        case .unknownTarget(let name): "there is no organization \(name); `fieldseal migrate status` lists the organizations"
        case .schemaMissing(let target):
            "\(target): its schema, or the table migration in the schema, is missing; restore it from a backup"
        case .ledgersDiffer(let target, let schema):
            "\(target): its schema is at \(schema.last ?? "no migration"), but config records another migration; restore the one "
                + "of the two that is wrong"
        case .encoding(let encoding):
            "the database's encoding is \(encoding), and Fieldseal needs UTF8; make the database with ENCODING 'UTF8' and TEMPLATE template0"
        case .failed(let target, let name, let reason):
            "\(target): migration \(name) failed and was rolled back: \(reason)"
        }
    }
}
