import CellCrypto
import Crypto
import Foundation
import Glibc
import JSON
import KeyManagement
import Model
package import Tenancy

/// A file that `org export` writes: a dump in pg_dump's custom format, then the manifest in JSON. The manifest's length (8 bytes,
/// big-endian) and 16 bytes that mark the end follow. `pg_restore` reads the dump and ignores the rest.
///
/// The file is opened once, so that checks and reads use the same file, even if the path names another file meanwhile.
package final class ExportFile: Sendable {
    /// The file, open for reading, or for reading and writing.
    package let descriptor: Int32
    private let path: String

    private static let mark = Array("fieldseal export".utf8)
    private static let manifestLimit = 1 << 20

    /// Opens an export for reading.
    ///
    /// - Throws: ``FieldsealError`` when there is no such file.
    package init(reading path: String) throws {
        self.path = path
        // Opening a pipe without a writer must not block.
        descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0, try Self.status(of: descriptor).isRegular else {
            throw FieldsealError(
                .invalidArgument,
                "The file \(path.quotedPath) can't be read: \(FileStatus.obstacle(toReading: path) ?? "it is not a regular file").")
        }
    }

    /// Creates the file of an export, readable only by its owner under any umask. The file of an export that was killed is reused;
    /// the file of a running export is not.
    ///
    /// - Throws: ``FieldsealError`` when the file can't be created.
    package init(writing path: String) throws {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0o600)
        var reason = descriptor < 0 ? String(cString: strerror(errno)) : nil
        if descriptor >= 0 {
            let status = try Self.status(of: descriptor)
            if !status.isRegular || status.owner != geteuid() || status.links != 1 {
                reason = "another user's file, or another kind of file, has its name"
            } else if flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
                reason = "another export is writing it"
            } else if fchmod(descriptor, 0o600) != 0 || ftruncate(descriptor, 0) != 0 {
                reason = String(cString: strerror(errno))
            }
        }
        if let reason { throw FieldsealError(.invalidArgument, "The file \(path.quotedPath) can't be written: \(reason).") }
    }

    deinit { close(descriptor) }

    // MARK: Writing

    /// Writes the manifest after a dump, with the dump's length and digest, and waits until everything is on disk.
    ///
    /// - Parameter key: The key for the manifest's tag; nil for no tag.
    /// - Returns: The manifest as it was written.
    package func append(_ manifest: ExportManifest, authenticatedUnder key: ExportAuthentication?) throws -> ExportManifest {
        var manifest = manifest
        (manifest.dumpLength, manifest.dumpDigest) = try digest(upTo: nil)
        if let key { try manifest.authenticate(under: key.key) }
        let text = manifest.json.utf8
        var trailer = Array(text)
        withUnsafeBytes(of: UInt64(text.count).bigEndian) { trailer.append(contentsOf: $0) }
        trailer += Self.mark
        var written = 0
        while written < trailer.count {
            let count = trailer.withUnsafeBytes { bytes in
                pwrite(
                    descriptor, bytes.baseAddress.map { $0 + written }, bytes.count - written, off_t(manifest.dumpLength + written))
            }
            guard count > 0 else { throw failed() }
            written += count
        }
        guard fsync(descriptor) == 0 else { throw failed() }
        return manifest
    }

    /// Renames the finished file to its final name.
    ///
    /// - Parameter replacing: Whether to replace a file with that name.
    /// - Throws: ``FieldsealError`` when a file with that name exists and must not be replaced.
    package func publish(as name: String, replacing: Bool) throws {
        let result = replacing ? rename(path, name) : link(path, name)
        guard result == 0 else {
            throw errno == EEXIST
                ? FieldsealError(.invalidArgument, "\(name) exists. Give the file another name, or replace it with --force.")
                : failed()
        }
        if !replacing { unlink(path) }
        guard FolderSync.waitForEntry(of: name) else { throw failed() }
    }

    /// Deletes an unfinished file.
    package func discard() { unlink(path) }

    private func failed() -> FieldsealError {
        FieldsealError(.unexpected, "The file \(path.quotedPath) can't be written: \(String(cString: strerror(errno))).")
    }

    // MARK: Reading

    /// Reads the manifest.
    ///
    /// - Throws: ``FieldsealError`` when the file has no manifest.
    package func manifest() throws -> ExportManifest {
        let length = try Self.status(of: descriptor).length
        let ending = Self.mark.count + 8
        guard length > ending else { throw ExportManifest.malformed }
        let end = try bytes(at: length - ending, count: ending)
        guard Array(end[8...]) == Self.mark else { throw ExportManifest.malformed }
        let size = end[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard size > 0, size <= UInt64(Self.manifestLimit), Int(size) < length - ending else { throw ExportManifest.malformed }
        let manifest = try ExportManifest(try JSONParser.parse(bytes(at: length - ending - Int(size), count: Int(size))))
        guard manifest.dumpLength == length - ending - Int(size) else { throw ExportManifest.malformed }
        return manifest
    }

    /// Checks that the dump matches the manifest.
    ///
    /// - Returns: The status for ``requireUnchanged(since:)``.
    /// - Throws: ``FieldsealError`` when the dump differs.
    @discardableResult
    package func verify(_ manifest: ExportManifest) throws -> FileStatus {
        let status = try Self.status(of: descriptor)
        guard try digest(upTo: manifest.dumpLength).text == manifest.dumpDigest else {
            throw FieldsealError(
                .invalidArgument, "The file was damaged: its dump is not the one that was exported. Copy it again.")
        }
        return status
    }

    /// Checks that the file was not written to since it was verified.
    ///
    /// - Throws: ``FieldsealError`` when the file was written to.
    package func requireUnchanged(since stamp: FileStatus) throws {
        guard try Self.status(of: descriptor) == stamp else {
            throw FieldsealError(.invalidArgument, "The file was changed while it was read. Nothing was imported. Copy it again.")
        }
    }

    private static func status(of descriptor: Int32) throws -> FileStatus {
        guard let status = FileStatus(descriptor: descriptor) else { throw ExportManifest.malformed }
        return status
    }

    private func bytes(at offset: Int, count: Int) throws -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var length = 0
        while length < count {
            let read = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress.map { $0 + length }, count - length, off_t(offset + length))
            }
            guard read > 0 else { throw ExportManifest.malformed }
            length += read
        }
        return bytes
    }

    private func digest(upTo limit: Int?) throws -> (length: Int, text: String) {
        var hash = SHA256()
        var length = 0
        let end = try limit ?? Self.status(of: descriptor).length
        while length < end {
            let chunk = try bytes(at: length, count: min(1 << 20, end - length))
            hash.update(data: chunk)
            length += chunk.count
        }
        return (length, hexadecimal(hash.finalize()))
    }
}
