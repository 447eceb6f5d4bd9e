package import CellCrypto
import Foundation
import JSON
import KeyManagement
import Migrations

/// The organizations in a dump of a deployment's database, and the keys that open them.
package struct BackupContents: Sendable {
    /// An organization that `config` lists, or an organization's schema that `config` does not list.
    package struct Entry: Sendable {
        package let schema: String
        /// Nil if the dump has only the schema.
        package let name: String?
        /// The key in force, from the schema; nil if the dump lacks the schema.
        package let keyVersion: Int?
        package let fingerprint: String?
        /// The key-encryption key that wraps the key; nil if `config` lacks the key.
        package let kekID: String?
        /// Whether the given key-encryption key opens the organization's key; nil if either key is missing.
        package let isOpened: Bool?
        /// Whether `config` has the state that the service attested, without which servers refuse the organization.
        let isAttested: Bool
        /// The migrations of the organization's schema.
        let applied: Set<String>
    }

    package let entries: [Entry]
    private let catalog: DumpCatalog
    /// The migrations that were applied to `config`.
    private let applied: Set<String>

    /// The tables whose rows are needed, by schema.
    package static let configTables = ["organization", "organization_key", "attested_state", "migration"]
    package static let organizationTables = ["encryption"]

    /// Reads the rows that `pg_restore --data-only` printed.
    ///
    /// - Parameters:
    ///   - catalog: What the dump holds.
    ///   - config: The rows of ``configTables``; nil if the dump has no schema `config`.
    ///   - schemas: The rows of ``organizationTables``, by schema.
    /// - Throws: ``FieldsealError`` for a text that is not from a dump.
    package init(_ catalog: DumpCatalog, config: String?, schemas: [String: String], kek: KeyEncryptionKey?) throws {
        self.catalog = catalog
        let tables = try config.map { try Self.rows(of: "config", in: $0) } ?? [:]
        var names: [String: (id: UUID, name: String)] = [:]
        for row in tables["organization"] ?? [] {
            if let id = row["organization_id"].flatMap(UUID.init(text:)), let name = row["name"], let schema = row["schema_name"] {
                names[schema] = (id, name)
            }
        }
        let attested = Set((tables["attested_state"] ?? []).compactMap { $0["organization_id"] })
        let ledger = Dictionary(grouping: tables["migration"] ?? []) { $0["organization_id"] ?? "" }
            .mapValues { Set($0.compactMap { $0["name"] }) }
        applied = ledger[""] ?? []
        entries = try Set(names.keys).union(schemas.keys).sorted().map { schema in
            let encryption = try schemas[schema].map { try Self.rows(of: schema, in: $0) }?["encryption"]?.first
            let version = encryption?["key_version"].flatMap { Int($0) }
            let key = (tables["organization_key"] ?? []).first { row in
                row["organization_id"] == names[schema]?.id.text && row["key_version"] == encryption?["key_version"]
                    && row["fingerprint"] == encryption?["fingerprint"]
            }
            var isOpened: Bool?
            if let kek, let key, let id = names[schema]?.id, let version {
                let stored = StoredKey(
                    version: version, fingerprint: key["fingerprint"] ?? "", wrappedText: Self.bytes(key["wrapped_text"]),
                    wrappedData: Self.bytes(key["wrapped_data"]))
                isOpened = stored.data(of: id, under: kek)?.fingerprint == encryption?["fingerprint"]
            }
            return Entry(
                schema: schema, name: names[schema]?.name, keyVersion: version, fingerprint: encryption?["fingerprint"],
                kekID: key?["kek_id"], isOpened: isOpened, isAttested: names[schema].map { attested.contains($0.id.text) } ?? true,
                applied: names[schema].flatMap { ledger[$0.id.text] } ?? [])
        }
    }

    /// The reasons why a restore of the backup would not give a working deployment; empty if there are none.
    package var problems: [String] {
        var problems = keyProblems
        if catalog.schemas.contains("config") {
            problems += BackupGaps(catalog: catalog, schema: "config", subject: "config")
                .problems(.config, applied: applied, keyVersion: nil)
        }
        let attests = applied.isEmpty || MigrationTables(.config, applied: applied).tables.contains("attested_state")
        for entry in entries where catalog.schemas.contains(entry.schema) {
            let name = entry.name ?? entry.schema
            if attests, !entry.isAttested {
                problems.append(
                    "\(name): config.attested_state has no row of the organization, so servers refuse its requests until "
                        + "fieldseal org attach \(name) accepts its state"
                )
            }
            problems += BackupGaps(catalog: catalog, schema: entry.schema, subject: name)
                .problems(.organization, applied: entry.applied, keyVersion: entry.keyVersion)
        }
        if !catalog.schemas.contains("cell") || catalog.names(.function, in: "cell").isEmpty {
            problems.append("the dump lacks the schema cell, or its functions, which the tables of cells need")
        }
        return problems
    }

    /// The problems of organizations whose cells can't be opened.
    private var keyProblems: [String] {
        entries.compactMap { entry in
            let name = entry.name ?? entry.schema
            if entry.keyVersion == nil {
                return catalog.schemas.contains(entry.schema)
                    ? "\(name): the dump lacks the row of \(entry.schema).encryption, without which no key opens its cells"
                    : "\(name): the dump lacks its schema \(entry.schema), and so its cells"
            }
            if entry.name == nil { return "\(name): the dump lacks config, so its organization key is needed to open it" }
            guard let kek = entry.kekID else {
                return
                    "\(name): config has no key of version \(entry.keyVersion ?? 0), so its organization key is needed to open it"
            }
            return entry.isOpened == false
                ? "\(name): its key is wrapped under the key-encryption key \(kek), and the given one does not open it" : nil
        }
    }

    // MARK: Rows

    /// The rows of each table, by column, without NULLs.
    private static func rows(of schema: String, in text: String) throws -> [String: [[String: String]]] {
        var rest = Array(text.utf8)[...]
        let reader = DumpReader(schema: schema) { buffer in
            let count = min(buffer.count, rest.count)
            buffer.copyBytes(from: rest.prefix(count))
            rest = rest.dropFirst(count)
            return count
        }
        var tables: [String: [[String: String]]] = [:]
        while let item = try reader.next() {
            guard case .rows(let table, let columns) = item else { continue }
            var line: [UInt8] = []
            try reader.rows { part in
                line += part
                guard line.last == UInt8(ascii: "\n") else { return }
                let fields = line.dropLast().split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false).map(field)
                line = []
                let pairs = zip(columns, fields).compactMap { column, field in field.map { (column, $0) } }
                tables[table, default: []].append(Dictionary(pairs) { first, _ in first })
            }
        }
        return tables
    }

    /// A field in COPY's text format. In the columns that are read, a backslash is the only character that COPY escapes.
    private static func field(_ bytes: ArraySlice<UInt8>) -> String? {
        let text = String(decoding: bytes, as: UTF8.self)
        return text == "\\N" ? nil : text.replacing("\\\\", with: "\\")
    }

    private static func bytes(_ text: String?) -> [UInt8] {
        guard let digits = text.map({ Array($0.utf8) }), digits.starts(with: "\\x".utf8), digits.count % 2 == 0 else { return [] }
        return stride(from: 2, to: digits.count, by: 2).compactMap {
            UInt8(String(decoding: digits[$0..<($0 + 2)], as: UTF8.self), radix: 16)
        }
    }
}
