import Tenancy

/// The settings of a PKCS#11 token that opens the key-encryption key. If one of these settings is set, all are required.
struct TokenSettings: Sendable {
    var module: String?
    var token: String?
    var label: String?
    var pinFile: String?
    var sealedFile: String?

    /// The settings under `prefix`; nil if there are none.
    ///
    /// - Throws: ``SettingsError`` naming the first missing setting.
    func place(_ prefix: String) throws(SettingsError) -> KeyTokenPlace? {
        guard [module, token, label, pinFile, sealedFile].contains(where: { $0 != nil }) else { return nil }
        guard let module else { throw .required("\(prefix).module") }
        guard let token else { throw .required("\(prefix).token") }
        guard let label else { throw .required("\(prefix).label") }
        guard let pinFile else { throw .required("\(prefix).pinFile") }
        guard let sealedFile else { throw .required("\(prefix).sealedFile") }
        return KeyTokenPlace(module: module, token: token, label: label, pinFile: pinFile, sealedFile: sealedFile)
    }
}
