import CellCrypto
import Foundation
import Glibc

/// The file with the user PIN of a token.
enum KeyTokenPIN {
    private static let limit = 256
    private static let others = 0o077
    /// The group's read bit, which a systemd credential may have. If systemd grants access by an access control list, this bit is
    /// the list's mask, and the group itself has no access.
    private static let credentialMask = 0o040

    /// Checks the file's kind, owner and mode, then reads it. A final line break is not part of the PIN.
    ///
    /// - Throws: ``KeyTokenProblem``.
    static func read(_ path: String) throws -> SecretBytes {
        // With O_NONBLOCK, opening a pipe without a writer does not block.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw KeyTokenProblem.pinFile(path, String(cString: strerror(errno))) }
        defer { close(descriptor) }
        guard let status = FileStatus(descriptor: descriptor), status.isRegular else {
            throw KeyTokenProblem.pinFile(path, "it is no regular file")
        }
        let folder = ProcessInfo.processInfo.environment["CREDENTIALS_DIRECTORY"]
        let allowed = folder.map { path.hasPrefix("\($0)/") } == true ? credentialMask : 0
        guard status.mode & others & ~allowed == 0 else {
            throw KeyTokenProblem.pinFile(
                path, "others than its owner may read it (mode \(String(status.mode, radix: 8))): chmod 0400 \(path)")
        }
        var text = [UInt8](repeating: 0, count: limit)
        defer { text.withUnsafeMutableBytes { secureWipe($0) } }
        let length = text.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
        guard length >= 0, length < limit else { throw KeyTokenProblem.pinFile(path, "it holds more than a PIN, or can't be read") }
        let line = text[..<length].prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }
        guard !line.isEmpty else { throw KeyTokenProblem.pinFile(path, "its first line is empty") }
        return line.withUnsafeBytes { SecretBytes(copying: $0) }
    }
}
