public import CellCrypto
import Foundation
import Glibc

/// The key-encryption key as a file: 64 random bytes in base64, readable by its owner alone.
public enum KeyEncryptionKeyFile {
    /// Why the file is not taken.
    public enum Problem: Error, Sendable, CustomStringConvertible {
        case missing(path: String)
        case readableByOthers(path: String, mode: Int)
        case unreadable(path: String, reason: String)
        case malformed(path: String)
        case exists(path: String)

        public var description: String {
            switch self {
            case .missing(let path):
                "there is no key-encryption key at \(path); restore it from its backup. Only for a new deployment: "
                    + "`fieldseal kek create`"
            case .readableByOthers(let path, let mode):
                "others than its owner may read the key-encryption key \(path) (mode \(String(mode, radix: 8))): chmod 0400 \(path)"
            case .unreadable(let path, let reason):
                "the key-encryption key \(path) can't be read: \(reason)"
            case .malformed(let path):
                "\(path) is not a key-encryption key: it must hold 64 bytes in base64"
            case .exists(let path):
                "\(path) exists; a key-encryption key is never overwritten"
            }
        }
    }

    /// Reads the file after checking its mode.
    ///
    /// - Throws: ``Problem``.
    public static func read(_ path: String) throws -> KeyEncryptionKey {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw errno == ENOENT
                ? Problem.missing(path: path) : Problem.unreadable(path: path, reason: String(cString: strerror(errno)))
        }
        defer { close(descriptor) }
        let attributes = try? FileManager.default.attributesOfItem(atPath: URL(filePath: path).resolvingSymlinksInPath().path)
        guard let mode = attributes?[.posixPermissions] as? Int else {
            throw Problem.unreadable(path: path, reason: "its mode is unknown")
        }
        guard mode & 0o077 == 0 else { throw Problem.readableByOthers(path: path, mode: mode) }
        var text = [UInt8](repeating: 0, count: 256)
        defer { text.withUnsafeMutableBytes { secureWipe($0) } }
        let length = text.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        guard length > 0, length < text.count, var key = Data(base64Encoded: Data(trimmed(text[..<length]))) else {
            throw Problem.malformed(path: path)
        }
        defer { key.withUnsafeMutableBytes { secureWipe($0) } }
        guard key.count == KeyEncryptionKey.length else { throw Problem.malformed(path: path) }
        return try KeyEncryptionKey(key.withUnsafeBytes { SecretBytes(copying: $0) })
    }

    /// Makes a new key-encryption key at `path`, mode 0400.
    ///
    /// - Throws: ``Problem`` `.exists` rather than overwrite anything.
    public static func create(at path: String) throws {
        let key = try SecretBytes.random(count: KeyEncryptionKey.length)
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o400)
        guard descriptor >= 0 else {
            throw errno == EEXIST
                ? Problem.exists(path: path) : Problem.unreadable(path: path, reason: String(cString: strerror(errno)))
        }
        defer { close(descriptor) }
        let text = key.withBytes { Data($0).base64EncodedString() } + "\n"
        let written = Array(text.utf8).withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
        guard written == text.utf8.count, fsync(descriptor) == 0 else {
            unlink(path)
            throw Problem.unreadable(path: path, reason: "writing failed")
        }
    }

    private static func trimmed(_ bytes: ArraySlice<UInt8>) -> [UInt8] { bytes.filter { $0 > 0x20 } }
}
