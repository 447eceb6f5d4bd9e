import Crypto
import Foundation

/// A file that `org export` writes: a dump in pg_dump's custom format, then the manifest in JSON, then its length (8 bytes,
/// big-endian) and 16 bytes that mark the end. `pg_restore` reads the dump and does not look behind it.
public struct ExportFile: Sendable {
    public let path: String

    public init(_ path: String) { self.path = path }

    private static let mark = Array("fieldseal export".utf8)
    private static let manifestLimit = 1 << 20

    /// Puts the manifest behind a dump, with the dump's length and digest.
    ///
    /// - Returns: The manifest as it was written.
    public func append(_ manifest: ExportManifest) throws -> ExportManifest {
        var manifest = manifest
        (manifest.dumpLength, manifest.dumpDigest) = try digest(upTo: nil)
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        defer { try? file.close() }
        try file.seekToEnd()
        let text = manifest.json.utf8
        var trailer = Array(text)
        trailer.append(bigEndian: UInt64(text.count))
        try file.write(contentsOf: trailer + Self.mark)
        try file.synchronize()
        return manifest
    }

    /// Reads the manifest.
    ///
    /// - Throws: ``FieldsealError`` when there is none.
    public func manifest() throws -> ExportManifest {
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw FieldsealError(.invalidArgument, "The file \(path.quotedForMessage) can't be read.")
        }
        defer { try? file.close() }
        let length = try file.seekToEnd()
        let ending = UInt64(Self.mark.count + 8)
        guard length > ending else { throw ExportManifest.malformed }
        try file.seek(toOffset: length - ending)
        let end = Array(try file.readToEnd() ?? Data())
        guard Array(end[8...]) == Self.mark else { throw ExportManifest.malformed }
        let size = end[..<8].reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard size > 0, size <= Self.manifestLimit, size < length - ending else { throw ExportManifest.malformed }
        try file.seek(toOffset: length - ending - size)
        let manifest = try ExportManifest(try JSONParser.parse(Array(try file.read(upToCount: Int(size)) ?? Data())))
        guard UInt64(manifest.dumpLength) == length - ending - size else { throw ExportManifest.malformed }
        return manifest
    }

    /// Checks that the dump is the one that the manifest was made for.
    ///
    /// - Throws: ``FieldsealError`` when a byte of it is another.
    public func verify(_ manifest: ExportManifest) throws {
        guard try digest(upTo: manifest.dumpLength).text == manifest.dumpDigest else {
            throw FieldsealError(
                .invalidArgument, "The file was damaged: its dump is not the one that was exported. Copy it again.")
        }
    }

    private func digest(upTo limit: Int?) throws -> (length: Int, text: String) {
        guard let file = FileHandle(forReadingAtPath: path) else { throw ExportManifest.malformed }
        defer { try? file.close() }
        var hash = SHA256()
        var length = 0
        while limit.map({ length < $0 }) ?? true {
            guard let chunk = try file.read(upToCount: min(1 << 20, limit.map { $0 - length } ?? .max)), !chunk.isEmpty else {
                break
            }
            hash.update(data: chunk)
            length += chunk.count
        }
        return (length, hash.finalize().map { String(format: "%02x", $0) }.joined())
    }
}
