package import CellCrypto
package import Foundation
package import JSON
import Model
import Tenancy

/// The description of an export, stored after its dump. The manifest shows, without a database, the organization, the time of the
/// export, and the key that opens the export.
package struct ExportManifest: Sendable, Equatable {
    /// The organization's name, id and schema at the time of the export.
    package var organization: String
    package var organizationID: UUID
    package var schema: String
    /// The newest migration of the schema.
    package var schemaVersion: String
    package var productVersion: String
    package var exportedOn: Date
    /// The key of the cells, and the time at which it was set.
    package var keyVersion: Int
    package var fingerprint: String
    package var keySetOn: Date
    /// The data that verifies a key's text (docs/cell-format.md): salt, PBKDF2 iterations, and the key check.
    package var salt: [UInt8]
    package var iterations: Int
    package var keyCheck: [UInt8]
    /// The number of cells of each encrypted attribute, such as `mailbox.password`.
    package var cells: [String: Int]
    /// The length and SHA-256 of the dump.
    package var dumpLength: Int = 0
    package var dumpDigest: String = ""
    /// A tag over the manifest under the data key of ``keyVersion``; nil if the export has no tag, such as an export by an older
    /// program.
    package internal(set) var authentication: [UInt8]?
    /// The members that were read, in order. The tag covers these members.
    private var members: [JSONValue.Member]?

    /// The number of cells of all attributes.
    package var cellCount: Int { cells.values.reduce(0, +) }

    /// Whether a text is the key that opens the cells.
    package func isOpened(by key: OrganizationKeyText) throws -> Bool {
        let dataKey = try DataKey(derivedFrom: key, salt: salt, iterations: iterations)
        return KeyCheck.isOpened(keyCheck, by: dataKey, organization: organizationID)
    }

    /// The data key derived from a text.
    ///
    /// - Throws: ``FieldsealError`` `.restoreCannotDecrypt` when the key does not open the cells.
    func dataKey(from text: OrganizationKeyText) throws -> DataKey {
        let key = try DataKey(derivedFrom: text, salt: salt, iterations: iterations)
        guard KeyCheck.isOpened(keyCheck, by: key, organization: organizationID) else {
            throw OrganizationRegistry.wrongKey(self)
        }
        return key
    }

    // MARK: Authenticity

    /// Tags the manifest, including the dump's digest.
    mutating func authenticate(under key: DataKey) throws { authentication = try tag(under: key) }

    /// Checks that a holder of the key wrote the file, and that the file is unchanged.
    ///
    /// - Returns: False when the manifest has no tag, so that this can't be checked.
    /// - Throws: ``FieldsealError`` when the manifest or the dump was changed.
    package func isAuthentic(under text: OrganizationKeyText) throws -> Bool { try requireAuthentic(under: dataKey(from: text)) }

    func requireAuthentic(under key: DataKey) throws -> Bool {
        guard let authentication else { return false }
        guard constantTimeEqual(authentication, try tag(under: key)) else {
            throw FieldsealError(
                .invalidArgument,
                "The file was changed since it was exported: its authentication code does not match. Nothing was imported. Export "
                    + "it again."
            )
        }
        return true
    }

    private func tag(under key: DataKey) throws -> [UInt8] {
        let tagged = JSONValue.object((members ?? described).filter { $0.name != Self.authenticationName })
        return try key.tag(label: "export", over: [tagged.utf8])
    }

    private static let authenticationName = "authentication"

    // MARK: JSON

    package var json: JSONValue { .object(described) }

    private var described: [JSONValue.Member] {
        let tag = authentication.map { JSONValue.Member(Self.authenticationName, .string(Data($0).base64EncodedString())) }
        guard case .object(let members) = facts else { return [] }
        return members + (tag.map { [$0] } ?? [])
    }

    private var facts: JSONValue {
        [
            "format": .string(Self.format), "organization": .string(organization), "organizationId": .string(organizationID.text),
            "schema": .string(schema), "schemaVersion": .string(schemaVersion), "productVersion": .string(productVersion),
            "exportedOn": .string(ISO8601.text(exportedOn)), "keyVersion": .integer(Int64(keyVersion)),
            "fingerprint": .string(fingerprint), "keySetOn": .string(ISO8601.text(keySetOn)),
            "salt": .string(Data(salt).base64EncodedString()), "iterations": .integer(Int64(iterations)),
            "keyCheck": .string(Data(keyCheck).base64EncodedString()),
            "cells": .object(cells.sorted { $0.key < $1.key }.map { .init($0.key, .integer(Int64($0.value))) }),
            "dumpLength": .integer(Int64(dumpLength)), "dumpSHA256": .string(dumpDigest),
        ]
    }

    private static let format = "fieldseal export 1"

    /// - Throws: ``FieldsealError`` when the JSON is not a manifest, or is newer than this program.
    package init(_ json: JSONValue) throws {
        guard case .object(let members) = json else { throw Self.malformed }
        let values = Dictionary(members.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        func text(_ name: String) throws -> String {
            guard case .string(let text)? = values[name] else { throw Self.malformed }
            return text
        }
        func number(_ value: JSONValue?) throws -> Int {
            guard case .integer(let number)? = value, let result = Int(exactly: number), result >= 0 else { throw Self.malformed }
            return result
        }
        func bytes(_ name: String) throws -> [UInt8] {
            guard let data = Data(base64Encoded: try text(name)) else { throw Self.malformed }
            return Array(data)
        }
        func date(_ name: String) throws -> Date {
            guard let date = ISO8601.date(try text(name)) else { throw Self.malformed }
            return date
        }
        guard try text("format") == Self.format else { throw Self.malformed }
        organization = try text("organization")
        guard Organization.isName(organization), let id = UUID(text: try text("organizationId")) else { throw Self.malformed }
        organizationID = id
        schema = try text("schema")
        // The schema's name becomes part of SQL statements.
        guard schema == Organization.schema(of: organization) else { throw Self.malformed }
        schemaVersion = try text("schemaVersion")
        productVersion = try text("productVersion")
        exportedOn = try date("exportedOn")
        keyVersion = try number(values["keyVersion"])
        fingerprint = try text("fingerprint")
        keySetOn = try date("keySetOn")
        salt = try bytes("salt")
        iterations = try number(values["iterations"])
        keyCheck = try bytes("keyCheck")
        guard salt.count == DataKey.saltLength, DataKey.iterationBounds.contains(iterations),
            (1..<Int(Int32.max)).contains(keyVersion)
        else { throw Self.malformed }
        guard case .object(let counts)? = values["cells"] else { throw Self.malformed }
        cells = Dictionary(try counts.map { ($0.name, try number($0.value)) }, uniquingKeysWith: { first, _ in first })
        dumpLength = try number(values["dumpLength"])
        dumpDigest = try text("dumpSHA256")
        if values[Self.authenticationName] != nil { authentication = try bytes(Self.authenticationName) }
        self.members = members
    }

    init(
        of organization: Organization, schemaVersion: String, productVersion: String, state: OrganizationState, cells: [String: Int]
    ) {
        self.organization = organization.name
        organizationID = organization.id
        schema = organization.schema
        self.schemaVersion = schemaVersion
        self.productVersion = productVersion
        exportedOn = Date()
        keyVersion = state.keyVersion
        fingerprint = state.fingerprint
        keySetOn = state.changedOn
        salt = state.salt
        iterations = state.iterations
        keyCheck = state.keyCheck
        self.cells = cells
    }

    static let malformed = FieldsealError(
        .invalidArgument, "The file is not an export of Fieldseal, or was cut off: its manifest is missing at the end.")
}
