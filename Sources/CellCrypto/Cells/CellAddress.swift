public import Foundation

/// The place of a cell. The cell's tag covers the place, so a cell that is copied to another organization, record, entity or
/// attribute does not open there.
public struct CellAddress: Sendable, Hashable, CustomStringConvertible {
    /// The organization's id.
    public var organization: UUID
    /// The record's id; for a key check and for wrapped keys, the organization's id.
    public var record: UUID
    /// The logical names of entity and attribute, such as `mailbox.password`, in ASCII.
    public var attribute: String

    /// Makes the address of a cell. The parts are not checked, because a cell opens only at the address for which it was sealed.
    public init(organization: UUID, record: UUID, attribute: String) {
        self.organization = organization
        self.record = record
        self.attribute = attribute
    }

    /// A text such as `mailbox(6f0e…).password`, with which an administrator finds the cell.
    public var description: String {
        let names = attribute.split(separator: ".", maxSplits: 1)
        guard names.count == 2 else { return "\(attribute)(\(record.uuidString.lowercased()))" }
        return "\(names[0])(\(record.uuidString.lowercased())).\(names[1])"
    }

    /// The length of the associated data in bytes.
    var associatedDataLength: Int { 37 + attribute.utf8.count }

    /// Writes `format ‖ key version ‖ organization ‖ record ‖ attribute`.
    func writeAssociatedData(header: UnsafeRawBufferPointer, to buffer: UnsafeMutableRawBufferPointer) {
        UnsafeMutableRawBufferPointer(rebasing: buffer[..<5]).copyMemory(from: header)
        withUnsafeBytes(of: organization.uuid) {
            UnsafeMutableRawBufferPointer(rebasing: buffer[5..<21]).copyMemory(from: $0)
        }
        withUnsafeBytes(of: record.uuid) {
            UnsafeMutableRawBufferPointer(rebasing: buffer[21..<37]).copyMemory(from: $0)
        }
        UnsafeMutableRawBufferPointer(rebasing: buffer[37...]).copyBytes(from: attribute.utf8)
    }
}
