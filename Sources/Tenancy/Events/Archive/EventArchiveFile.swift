package import CellCrypto
import Crypto
import Foundation
package import JSON
import Model

/// A file of archived evidence in JSON lines. The first line describes the file, and the last line seals it.
///
/// The last line has the SHA-256 of all lines before it, and a tag of the KEK over that digest. Security events also have their own
/// chain of hashes, which can be verified without the KEK.
package struct EventArchiveFile: Sendable {
    package let path: String

    package init(_ path: String) { self.path = path }

    /// The description of an archive in its first line.
    package struct Summary: Sendable, Equatable {
        /// `security events` or `audit`.
        package let content: String
        package let organization: String
        package let organizationID: String
        package let count: Int
        /// The number of the first event, or audit block; 0 for an audit that was archived before it had blocks. `last` is the
        /// number of the last event or block.
        package let first: Int
        package let last: Int
        /// The hash of the event or block before the archive; nil if the archive begins with the organization's first event or
        /// block.
        package let previousHash: [UInt8]?
        /// The hash of the last event or block.
        package let hash: [UInt8]?

        package init(
            content: String,
            organization: String,
            organizationID: String,
            count: Int,
            first: Int,
            last: Int,
            previousHash: [UInt8]?,
            hash: [UInt8]?
        ) {
            self.content = content
            self.organization = organization
            self.organizationID = organizationID
            self.count = count
            self.first = first
            self.last = last
            self.previousHash = previousHash
            self.hash = hash
        }
    }

    /// Appends lines, and updates the digest.
    package struct Writer {
        private let file: FileHandle
        private var digest = SHA256()
        private var buffer: [UInt8] = []

        /// Creates or empties the file. Only the owner can read the file.
        package init(_ path: String) throws {
            let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
            guard descriptor >= 0 else {
                throw FieldsealError(
                    .invalidArgument, "The file \(path.quotedPath) can't be written: \(String(cString: strerror(errno))).")
            }
            file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
            fchmod(descriptor, 0o600)
        }

        package mutating func write(_ line: JSONValue) throws {
            line.write(to: &buffer)
            buffer.append(UInt8(ascii: "\n"))
            if buffer.count > 1 << 20 { try flush() }
        }

        private mutating func flush() throws {
            digest.update(data: buffer)
            try file.write(contentsOf: buffer)
            buffer = []
        }

        /// Writes the last line, and waits until everything is on disk.
        package mutating func seal(_ organization: Organization, under kek: KeyEncryptionKey) throws -> [UInt8] {
            try flush()
            let sum = Array(digest.finalize())
            try write([
                "sha256": .hexadecimal(sum), "kekId": .string(kek.id),
                "tag": .hexadecimal(try EventArchiveFile.tag(sum, organization.id.text, under: kek)),
            ])
            try file.write(contentsOf: buffer)
            try file.synchronize()
            try file.close()
            return sum
        }
    }

    /// The content of an archive of the audit.
    package static let auditContent = "audit"

    /// The label of the subkey that tags archives.
    static let tagLabel = "evidence archive"

    static func tag(_ digest: [UInt8], _ organizationID: String, under kek: KeyEncryptionKey) throws -> [UInt8] {
        try kek.tag(label: tagLabel, over: tagged(digest, organizationID))
    }

    private static func tagged(_ digest: [UInt8], _ organizationID: String) -> [[UInt8]] { [Array(organizationID.utf8), digest] }

    /// The first line.
    package static func header(_ summary: Summary) -> JSONValue {
        [
            "fieldseal": "evidence archive", "format": 1, "content": .string(summary.content),
            "organization": .string(summary.organization), "organizationId": .string(summary.organizationID),
            "count": .integer(Int64(summary.count)), "first": .integer(Int64(summary.first)), "last": .integer(Int64(summary.last)),
            "previousHash": .hexadecimal(summary.previousHash), "hash": .hexadecimal(summary.hash),
        ]
    }

    private func problem(_ what: String) -> FieldsealError {
        FieldsealError(.invalidArgument, "The archive \(path.quotedPath) \(what).")
    }

    private func content() throws -> Data {
        guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else {
            throw problem("can't be read\(FileStatus.obstacle(toReading: path).map { ": \($0)" } ?? "")")
        }
        return data
    }

    private func summary(of line: JSONValue?) throws -> Summary {
        func number(_ name: String) -> Int? { if case .integer(let value)? = line?[name] { Int(value) } else { nil } }
        func hash(_ name: String) -> [UInt8]? { line?[name]?.string.flatMap(bytes(hexadecimal:)) }
        guard let line, line["fieldseal"]?.string == "evidence archive", number("format") == 1,
            let content = line["content"]?.string, let organization = line["organization"]?.string,
            let id = line["organizationId"]?.string, let count = number("count"), let first = number("first"),
            let last = number("last")
        else { throw problem("does not begin like one of format 1: Fieldseal did not write it, or a newer version did") }
        return Summary(
            content: content, organization: organization, organizationID: id, count: count, first: first, last: last,
            previousHash: hash("previousHash"), hash: hash("hash"))
    }

    /// The description in the first line, unverified; nil if there is no such file.
    package func claimed() throws -> Summary? {
        guard FileManager.default.fileExists(atPath: path) else { return nil }
        let data = try content()
        return try summary(of: try? JSONParser.parse(Array(data.prefix { $0 != UInt8(ascii: "\n") })))
    }

    /// Verifies every line: the digest, the tag, and for security events the chain of their hashes.
    ///
    /// - Parameter replaced: The keys that tagged archives under earlier key-encryption keys, by the ids of those key-encryption
    /// keys.
    /// - Throws: ``FieldsealError`` that describes the problem.
    package func verify(under kek: KeyEncryptionKey, replaced: [String: SecretBytes] = [:]) throws -> Summary {
        let data = try content()
        guard data.last == UInt8(ascii: "\n"),
            let end = data.dropLast().lastIndex(of: UInt8(ascii: "\n"))
        else { throw problem("is cut off") }
        let body = data[...end]
        let summary = try summary(of: try? JSONParser.parse(Array(body.prefix { $0 != UInt8(ascii: "\n") })))
        let seal = try? JSONParser.parse(Array(data[data.index(after: end)...].dropLast()))
        guard let digest = seal?["sha256"]?.string.flatMap(bytes(hexadecimal:)),
            let tag = seal?["tag"]?.string.flatMap(bytes(hexadecimal:)), let kekID = seal?["kekId"]?.string
        else { throw problem("is cut off: its last line is not a seal") }
        guard Array(SHA256.hash(data: body)) == digest else { throw problem("was changed: its SHA-256 is another") }
        guard let tagKey = try kek.member(kekID)?.tagKey(label: Self.tagLabel) ?? replaced[kekID] else {
            throw problem("was sealed under the key-encryption key \(kekID), and this program has \(kek.id)")
        }
        let expected = try KeyEncryptionKey.tag(under: tagKey, over: Self.tagged(digest, summary.organizationID))
        guard constantTimeEqual(tag, expected) else {
            throw problem("was not sealed by this service: its tag is another")
        }
        try verifyLines(body, summary)
        return summary
    }

    /// Digests of the events of an archive that was verified, by the events' numbers.
    package func digests() throws -> [Int: [UInt8]] {
        var digests: [Int: [UInt8]] = [:]
        for line in try content().split(separator: UInt8(ascii: "\n")).dropFirst().dropLast() {
            guard let event = (try? JSONParser.parse(Array(line))).flatMap({ RecordedEvent($0, after: nil) }) else { continue }
            digests[event.id] = event.digest
        }
        return digests
    }

    private func verifyLines(_ body: Data, _ summary: Summary) throws {
        var hash = summary.previousHash
        var count = 0
        var first: Int?
        var last = 0
        let lines = body.split(separator: UInt8(ascii: "\n")).dropFirst()
        for line in lines {
            count += 1
            guard summary.content == "security events" else { continue }
            guard let event = (try? JSONParser.parse(Array(line))).flatMap({ RecordedEvent($0, after: hash) }) else {
                throw problem("has a line \(count + 1) that is no security event")
            }
            guard event.id > last, event.hash == (try event.computedHash()) else {
                throw problem("has a broken chain at event \(event.id)")
            }
            first = first ?? event.id
            (hash, last) = (event.hash, event.id)
        }
        guard count == summary.count,
            summary.content != "security events" || (first == summary.first && last == summary.last && hash == summary.hash)
        else { throw problem("does not hold what its first line says") }
    }
}

extension RecordedEvent {
    /// SHA-256 of the event as exports and archives write it.
    var digest: [UInt8] { Array(SHA256.hash(data: json("").utf8)) }
}
