/// The key-encryption keys of databases that have their own, by the databases' names.
struct DatabaseKeks: Sendable {
    var files: [String: String] = [:]
    var credentials: [String: String] = [:]
    var commands: [String: [String]] = [:]
    /// The sources of the new keys during a rotation.
    var newFiles: [String: String] = [:]
    var newCredentials: [String: String] = [:]
    var newCommands: [String: [String]] = [:]
    /// The files with copies of the keys, for the doctor.
    var copyFiles: [String: String] = [:]

    /// True if no database has a key-encryption key of its own, and none gets one in a rotation.
    var isEmpty: Bool { keySettings.allSatisfy(\.names.isEmpty) }

    /// Each setting with the names of the databases in it.
    var settings: [(key: String, names: [String])] { keySettings + [("kekCopyFiles", copyFiles.keys.sorted())] }

    /// The settings that name sources of keys. `kekCopyFiles` is not among them.
    private var keySettings: [(key: String, names: [String])] {
        [
            ("kekFiles", files.keys.sorted()), ("kekCredentials", credentials.keys.sorted()),
            ("kekCommands", commands.keys.sorted()),
            ("newKekFiles", newFiles.keys.sorted()), ("newKekCredentials", newCredentials.keys.sorted()),
            ("newKekCommands", newCommands.keys.sorted()),
        ]
    }

    /// Whether a database has a key-encryption key of its own, or gets one in a rotation.
    func hasKey(of name: String) -> Bool { keySettings.contains { $0.names.contains(name) } }

    /// The source of a database's own key-encryption key; nil if it has none.
    func source(of name: String) throws(SettingsError) -> KeyEncryptionKeySource? {
        try Self.only([
            ("kekFiles.\(name)", files[name].map { .file($0) }),
            ("kekCredentials.\(name)", credentials[name].map { .credential($0) }),
            ("kekCommands.\(name)", commands[name].map { .command($0) }),
        ])
    }

    /// The source of the key-encryption key that replaces a database's own one in a rotation; nil if none is set.
    func newSource(of name: String) throws(SettingsError) -> KeyEncryptionKeySource? {
        try Self.only([
            ("newKekFiles.\(name)", newFiles[name].map { .file($0) }),
            ("newKekCredentials.\(name)", newCredentials[name].map { .credential($0) }),
            ("newKekCommands.\(name)", newCommands[name].map { .command($0) }),
        ])
    }

    private static func only(
        _ sources: [(key: String, source: KeyEncryptionKeySource?)]
    ) throws(SettingsError) -> KeyEncryptionKeySource? {
        let given = sources.filter { $0.source != nil }
        guard given.count <= 1 else { throw .several(given.map(\.key)) }
        return given.first?.source
    }
}
