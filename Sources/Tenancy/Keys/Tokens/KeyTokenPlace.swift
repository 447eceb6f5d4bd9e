internal import CPKCS11
import CellCrypto
import Glibc

/// The PKCS#11 token that seals the key-encryption key, as in the settings.
package struct KeyTokenPlace: Sendable {
    /// The path of the token's PKCS#11 module.
    package let module: String
    /// The label of the token.
    package let token: String
    /// The label of the AES key in the token.
    package let label: String
    /// The file with the token's user PIN.
    package let pinFile: String
    /// The file with the sealed key-encryption key.
    package let sealedFile: String

    package init(module: String, token: String, label: String, pinFile: String, sealedFile: String) {
        (self.module, self.token, self.label, self.pinFile, self.sealedFile) = (module, token, label, pinFile, sealedFile)
    }
}
