package import CellCrypto
import Foundation
import Glibc

/// The key-encryption key as a file: 64 random bytes in base64, readable only by its owner.
package enum KeyEncryptionKeyFile {
    /// The reason for which the file is rejected.
    package enum Problem: Error, Sendable, CustomStringConvertible {
        case missing(path: String)
        case readableByOthers(path: String, mode: Int)
        case othersFile(path: String, owner: Int)
        case noFile(path: String)
        case unreadable(path: String, reason: String)
        case unwritable(path: String, reason: String)
        case malformed(path: String)
        case exists(path: String)
        case noCredentials(String)
        case noCredentialName(String)

        /// The user's name; the number if the user is unknown.
        private static func user(_ id: Int) -> String {
            getpwuid(uid_t(id)).flatMap { String(cString: $0.pointee.pw_name) } ?? "#\(id)"
        }

        package var description: String {
            switch self {
            case .missing(let path):
                "there is no key-encryption key at \(path); restore it from its backup. Only for a new deployment: "
                    + "`fieldseal kek create`"
            case .readableByOthers(let path, let mode):
                "others than its owner may read the key-encryption key \(path) (mode \(String(mode, radix: 8))): chmod 0400 \(path)"
            case .othersFile(let path, let owner) where geteuid() == 0:
                // The text does not advise to give the file to root, because the service could then not read the file any more.
                "the key-encryption key \(path) belongs to \(Self.user(owner)), who could replace it, so root does not use it; run this command as that "
                    + "user: runuser -u \(Self.user(owner)) -- fieldseal …"
            case .othersFile(let path, let owner):
                "the key-encryption key \(path) belongs to the user with the id \(owner), who could replace it: chown it to the user "
                    + "that this program runs as, or to root"
            case .noFile(let path):
                "\(path) is no regular file; the key-encryption key must be one"
            case .unreadable(let path, let reason):
                "the key-encryption key \(path) can't be read: \(reason)"
            case .unwritable(let path, let reason):
                "the key-encryption key \(path) can't be written: \(reason)"
            case .malformed(let path):
                "\(path) is not a key-encryption key: it must hold 64 bytes in base64"
            case .noCredentials(let name):
                "systemd passed no credentials to this program, so the key-encryption key \(name) can't be read; for a command on the "
                    + "command line, use systemd-run with LoadCredential=, or settings that name a file"
            case .noCredentialName(let name):
                "\(name) is no name of a credential: it has no slash, and does not begin with a dot"
            case .exists(let path):
                "\(path) exists; a key-encryption key is never overwritten"
            }
        }
    }

    /// Checks the file's kind, owner and mode, then reads it. The check uses the open file, because the path may name another file
    /// meanwhile.
    ///
    /// - Throws: ``Problem``.
    package static func read(_ path: String) throws -> KeyEncryptionKey {
        try read(path, othersMay: 0)
    }

    /// Reads a credential that systemd passed to the service (systemd.exec(5), `LoadCredential=`).
    ///
    /// - Throws: ``Problem``.
    package static func read(credential name: String) throws -> KeyEncryptionKey {
        guard let folder = ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"] else { throw Problem.noCredentials(name) }
        guard !name.isEmpty, !name.contains("/"), !name.hasPrefix(".") else { throw Problem.noCredentialName(name) }
        // The group's read bit is allowed: if systemd grants access by an access control list, this bit is the list's mask, and the
        // group itself has no access.
        return try read("\(folder)/\(name)", othersMay: 0o040)
    }

    private static func read(_ path: String, othersMay bits: Int) throws -> KeyEncryptionKey {
        try KeyEncryptionKey(bytes(path, othersMay: bits))
    }

    /// The bytes of the key in a file.
    ///
    /// - Parameter bits: The permitted mode bits of the group and others.
    static func bytes(_ path: String, othersMay bits: Int = 0) throws -> SecretBytes {
        // With O_NONBLOCK, opening a pipe without a writer does not block.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw errno == ENOENT
                ? Problem.missing(path: path) : Problem.unreadable(path: path, reason: String(cString: strerror(errno)))
        }
        defer { close(descriptor) }
        try check(descriptor, path, othersMay: bits)
        return try SecretBytes(count: KeyEncryptionKey.length) { key throws(any Error) in
            var text = [UInt8](repeating: 0, count: 256)
            defer { text.withUnsafeMutableBytes { secureWipe($0) } }
            let length = text.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            guard length > 0, length < text.count, decode(text[..<length], into: key) else {
                throw Problem.malformed(path: path)
            }
        }
    }

    private static func check(_ descriptor: Int32, _ path: String, othersMay bits: Int) throws {
        guard let status = FileStatus(descriptor: descriptor) else {
            throw Problem.unreadable(path: path, reason: "its status is unknown")
        }
        guard status.isRegular else { throw Problem.noFile(path: path) }
        guard status.owner == geteuid() || status.owner == 0 else { throw Problem.othersFile(path: path, owner: Int(status.owner)) }
        guard status.mode & 0o077 & ~bits == 0 else { throw Problem.readableByOthers(path: path, mode: status.mode) }
    }

    /// Decodes base64 into a buffer that it must fill exactly, and ignores white space. The function makes no copy of the secret.
    static func decode(_ text: ArraySlice<UInt8>, into output: UnsafeMutableRawBufferPointer) -> Bool {
        var bits: UInt32 = 0
        var pending = 0
        var count = 0
        var padding = 0
        for byte in text where byte > 0x20 {
            if byte == UInt8(ascii: "=") {
                padding += 1
                continue
            }
            guard padding == 0, let value = sextet(byte) else { return false }
            bits = bits << 6 | value
            pending += 6
            guard pending >= 8 else { continue }
            pending -= 8
            guard count < output.count else { return false }
            output[count] = UInt8(truncatingIfNeeded: bits >> UInt32(pending))
            count += 1
        }
        return count == output.count && padding == (3 - count % 3) % 3 && bits & (1 << UInt32(pending) - 1) == 0
    }

    private static func sextet(_ byte: UInt8) -> UInt32? {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt32(byte - UInt8(ascii: "A"))
        case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt32(byte - UInt8(ascii: "a")) + 26
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt32(byte - UInt8(ascii: "0")) + 52
        case UInt8(ascii: "+"): 62
        case UInt8(ascii: "/"): 63
        default: nil
        }
    }

    /// Makes a new key-encryption key at `path` with the mode 0400.
    ///
    /// - Throws: ``Problem`` `.exists` if there is a file already. A file is never overwritten.
    package static func create(at path: String) throws {
        let key = try SecretBytes.random(count: KeyEncryptionKey.length)
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o400)
        guard descriptor >= 0 else {
            throw errno == EEXIST
                ? Problem.exists(path: path) : Problem.unwritable(path: path, reason: String(cString: strerror(errno)))
        }
        defer { close(descriptor) }
        var text = key.withBytes { Array(Data($0).base64EncodedData()) } + [UInt8(ascii: "\n")]
        defer { text.withUnsafeMutableBytes { secureWipe($0) } }
        let written = text.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written == text.count, fchmod(descriptor, 0o400) == 0, fsync(descriptor) == 0, FolderSync.waitForEntry(of: path)
        else {
            unlink(path)
            throw Problem.unwritable(path: path, reason: "writing failed")
        }
    }
}
