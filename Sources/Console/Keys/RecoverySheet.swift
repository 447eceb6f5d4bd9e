import Authentication
import CellCrypto
import Foundation
import JSON
import KeyManagement
import Tenancy

/// The sheet for keeping an organization's key on paper: in groups, with check characters and a QR code.
struct RecoverySheet {
    let visit: Visit
    let baseURL: String

    /// How many characters a group has if the key itself is not divided into groups.
    private static let groupLength = 4
    /// How many groups a line has.
    private static let lineGroups = 4

    func values(_ text: String, _ status: EncryptionStatus, _ organization: Organization) throws -> [String: Any] {
        let isGenerated = OrganizationKeyText.generatedForm(of: text) == text
        let characters = Array(text)
        // A generated key has its own groups, and its hyphens are part of it.
        let groups =
            isGenerated
            ? text.split(separator: "-").map(String.init)
            : stride(from: 0, to: characters.count, by: Self.groupLength).map {
                String(characters[$0..<min($0 + Self.groupLength, characters.count)])
            }
        let lines = try stride(from: 0, to: groups.count, by: Self.lineGroups).map { start -> [String: Any] in
            let line = groups[start..<min(start + Self.lineGroups, groups.count)]
            let isLast = start + Self.lineGroups >= groups.count
            let shown =
                isGenerated
                ? line.enumerated().map { $0.element + ($0.offset == line.count - 1 && isLast ? "" : "-") } : Array(line)
            return ["number": start / Self.lineGroups + 1, "groups": shown, "check": try Self.check(line.joined())]
        }
        let unusual = characters.enumerated().compactMap { index, character -> String? in
            let isPlain = character.isASCII && (character.isLetter || character.isNumber) && !"O0oIl1".contains(character)
            return isPlain || character == "-" && isGenerated ? nil : "\(index + 1): \(character) (\(character.spelledOut))"
        }
        return [
            "title": visit.text("recoverySheet"), "organizationID": organization.id.text,
            "server": "\(baseURL)\(visit.root)/", "keyVersion": status.keyVersion, "fingerprint": status.fingerprint,
            "setOn": visit.texts.time(status.setOn), "printedOn": visit.texts.time(Date()), "printedBy": visit.signed?.name ?? "",
            "lines": lines, "howToType": visit.text(isGenerated ? "typeGenerated" : "typeChosen", ["n": "\(characters.count)"]),
            "qr": orFalse(QRCode(text)?.svg(alternative: visit.text("qrKey"))), "unusual": unusual,
            "hasUnusual": !unusual.isEmpty,
        ]
    }

    /// The check characters of a typed text for each line of the sheet; nil if the text does not have the form of a generated
    /// key.
    static func checks(ofTyped text: String) throws -> [String]? {
        let typed = OrganizationKeyText.generatedForm(of: text)
        guard let key = try typed ?? OrganizationKeyText.generatedForm(of: OrganizationKeyText.withoutSheetMarks(text)) else {
            return nil
        }
        let groups = key.split(separator: "-")
        return try stride(from: 0, to: groups.count, by: lineGroups).map { try check(groups[$0..<$0 + lineGroups].joined()) }
    }

    /// Two check characters of a line, computed from its letters and digits in upper case.
    static func check(_ line: String) throws -> String { try OrganizationKeyText.check(ofLine: line) }
}

extension Character {
    /// The names of a text's characters in Unicode, for reading aloud characters that look alike.
    fileprivate var spelledOut: String {
        unicodeScalars.map { $0.properties.name?.lowercased() ?? "U+\(String($0.value, radix: 16, uppercase: true))" }
            .joined(separator: ", ")
    }
}
