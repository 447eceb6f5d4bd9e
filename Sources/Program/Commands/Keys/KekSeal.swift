import ArgumentParser
import JSON
import Tenancy

extension Kek {
    /// Seals a key-encryption key with a PKCS#11 token.
    struct Seal: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Seal a key-encryption key by the PKCS#11 token that the settings name in kek.pkcs11.",
            discussion: """
                Without --from, the key is a new one, which exists nowhere else. Keep backups of the token and of the sealed file. \
                The sealed file is written to kek.pkcs11.sealedFile, and never overwritten.
                """,
            example: "kek seal --make-token-key --from /etc/fieldseal/private/kek")
        @Option(help: ArgumentHelp("Seal this key-encryption key, as kek create made it.", valueName: "file")) var from: String?
        @Flag(help: "First make the AES key in the token, which never leaves the token.") var makeTokenKey = false
        @Flag(help: "Use newKek.pkcs11, for a key that replaces the present one.") var new = false
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let settings = try await Settings.read(options.settings)
            let setting = new ? "newKek.pkcs11" : "kek.pkcs11"
            guard case .token(let place)? = try new ? settings.newKekSource : settings.kekSource else {
                throw CommandFailure("The settings have no \(setting). Name the token there, then run this command again.")
            }
            let id = try SealedKeyEncryptionKey.seal(place, from: from, makesTokenKey: makeTokenKey)
            options.report(
                ["kekId": .string(id), "sealedFile": .string(place.sealedFile)],
                """
                Sealed the key-encryption key \(id) into \(place.sealedFile), which the token \(place.token) alone opens.
                \(from == nil
                    ? "No other copy of this key exists. Back up the token with the token's own tools, and back up the file."
                    : "Move \(from ?? "") to a safe place, apart from the database's backups.")
                """)
        }
    }
}
