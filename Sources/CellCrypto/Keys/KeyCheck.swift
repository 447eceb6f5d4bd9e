public import Foundation

/// A cell with a fixed text, stored with the organization. A key is the right one exactly if it opens the key check.
public enum KeyCheck {
    static let text = "fieldseal key check"

    static func address(_ organization: UUID) -> CellAddress {
        CellAddress(organization: organization, record: organization, attribute: "organization.keycheck")
    }

    /// Makes the key check of a new key.
    public static func seal(under key: DataKey, organization: UUID, keyVersion: UInt32) throws -> Cell {
        try key.seal(text, at: address(organization), keyVersion: keyVersion)
    }

    /// Whether `key` opens the key check.
    public static func isOpened(_ cell: [UInt8], by key: DataKey, organization: UUID) -> Bool {
        guard let opened = try? key.open(cell, at: address(organization)) else { return false }
        return opened.withBytes { constantTimeEqual(Array($0), Array(text.utf8)) }
    }
}
