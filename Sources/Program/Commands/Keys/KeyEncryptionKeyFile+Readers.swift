import Foundation
import Glibc
import Tenancy

extension KeyEncryptionKeyFile {
    /// A text that says who can read the file of a key-encryption key that this process made.
    static func readers(of path: String) -> String {
        guard geteuid() == 0 else {
            return "It belongs to \(UserName.current), and other users than root can't read it."
        }
        return """
            It belongs to root, and no other user can read it. A service that runs as another user, such as fieldseal, must own \
            the file: chown fieldseal: \(path)
            """
    }
}
