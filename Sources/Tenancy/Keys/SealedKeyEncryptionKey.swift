package import CellCrypto
import Foundation
import Glibc
import JSON

/// A key-encryption key in a file that a PKCS#11 token opens. The token's key never leaves the token.
///
/// The file is JSON: the id of the key-encryption key, the nonce, and the 64 bytes sealed by AES-256-GCM.
package enum SealedKeyEncryptionKey {
    private static let mechanism = "AES-256-GCM"
    private static let lengthLimit = 4_096

    /// Opens the sealed file with the token.
    ///
    /// - Throws: ``KeyTokenProblem``.
    package static func read(_ place: KeyTokenPlace) throws -> KeyEncryptionKey {
        let file = try parse(place.sealedFile)
        let bytes = try KeyToken.run(place) { token in
            guard let key = try token.key() else { throw KeyTokenProblem.noKey(place) }
            return try token.open(file.sealed, key, iv: file.iv, associated: associated(file.id))
        }
        guard bytes.count == KeyEncryptionKey.length else { throw KeyTokenProblem.otherLength(place, bytes.count) }
        let kek = try KeyEncryptionKey(bytes)
        guard kek.id == file.id else { throw KeyTokenProblem.sealedFile(place.sealedFile, "it holds another key than its id says") }
        return kek
    }

    /// Seals a key-encryption key, and writes the file. An existing file is never overwritten.
    ///
    /// - Parameters:
    ///   - source: A file with a key-encryption key; nil for a new one.
    ///   - makesTokenKey: Whether to make the token's key too.
    /// - Returns: The id of the key-encryption key.
    /// - Throws: ``KeyTokenProblem``.
    package static func seal(_ place: KeyTokenPlace, from source: String?, makesTokenKey: Bool) throws -> String {
        guard FileStatus(path: place.sealedFile) == nil else {
            throw KeyTokenProblem.sealedFile(place.sealedFile, "it exists, and is never overwritten")
        }
        let secret = try source.map { try KeyEncryptionKeyFile.bytes($0) } ?? SecretBytes.random(count: KeyEncryptionKey.length)
        let id = try KeyEncryptionKey(secret).id
        let (iv, sealed) = try KeyToken.run(place, isWriting: makesTokenKey) { token in
            let there = try token.key()
            if makesTokenKey, there != nil { throw KeyTokenProblem.keyExists(place) }
            guard let key = try there ?? (makesTokenKey ? token.makeKey() : nil) else { throw KeyTokenProblem.noKey(place) }
            let made = try token.seal(secret, key, associated: associated(id))
            // Checks that the token opens what it sealed, before anything depends on it.
            guard try token.open(made.sealed, key, iv: made.iv, associated: associated(id)).isEqual(to: secret) else {
                throw KeyTokenProblem.notSealed(place)
            }
            return made
        }
        let text: JSONValue = [
            "kekId": .string(id), "mechanism": .string(mechanism), "iv": .string(Data(iv).base64EncodedString()),
            "sealed": .string(Data(sealed).base64EncodedString()),
        ]
        try write(Array(text.utf8) + [UInt8(ascii: "\n")], to: place.sealedFile)
        return id
    }

    private static func associated(_ id: String) -> [UInt8] { Array("fieldseal kek \(id)".utf8) }

    private static func parse(_ path: String) throws -> (id: String, iv: [UInt8], sealed: [UInt8]) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            throw KeyTokenProblem.sealedFile(
                path,
                String(cString: strerror(errno)) + ". Restore it from its backup. Only for a new deployment: fieldseal kek seal")
        }
        defer { close(descriptor) }
        guard let status = FileStatus(descriptor: descriptor), status.isRegular, status.length <= lengthLimit else {
            throw KeyTokenProblem.sealedFile(path, "it is no file that fieldseal kek seal wrote")
        }
        var text = [UInt8](repeating: 0, count: lengthLimit)
        let length = text.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        guard length >= 0, let value = try? JSONParser.parse(Array(text.prefix(length))), let id = value["kekId"]?.string,
            let iv = value["iv"]?.string.flatMap({ Data(base64Encoded: $0) }), iv.count == KeyToken.ivLength,
            let sealed = value["sealed"]?.string.flatMap({ Data(base64Encoded: $0) }), sealed.count > KeyEncryptionKey.length
        else { throw KeyTokenProblem.sealedFile(path, "it is no file that fieldseal kek seal wrote. Restore it from its backup") }
        guard value["mechanism"]?.string == mechanism else {
            throw KeyTokenProblem.sealedFile(path, "it was sealed by another mechanism than \(mechanism), which alone is supported")
        }
        return (id, Array(iv), Array(sealed))
    }

    /// Writes a complete file or none. `link` never overwrites a file.
    private static func write(_ bytes: [UInt8], to path: String) throws {
        let partial = "\(path).new"
        unlink(partial)
        let descriptor = open(partial, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o400)
        guard descriptor >= 0 else { throw KeyTokenProblem.sealedFile(partial, String(cString: strerror(errno))) }
        defer {
            close(descriptor)
            unlink(partial)
        }
        guard Glibc.write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0, link(partial, path) == 0,
            FolderSync.waitForEntry(of: path)
        else {
            throw KeyTokenProblem.sealedFile(path, "writing failed: \(String(cString: strerror(errno)))")
        }
    }
}
