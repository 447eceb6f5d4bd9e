package import Foundation

/// Builds rows in the binary format of COPY (PostgreSQL, COPY, "Binary Format"). A row is its number of fields, then the length and
/// the bytes of each field.
package struct BinaryCopyRows: Sendable {
    /// The rows, without the stream's header and trailer.
    package private(set) var bytes: [UInt8] = []

    /// - Parameter capacity: For how many bytes to reserve memory.
    package init(capacity: Int = 0) {
        bytes.reserveCapacity(capacity)
    }

    /// Begins a row of `count` fields, which must be appended next.
    package mutating func begin(fields count: Int) {
        bytes.append(bigEndian: Int16(count))
    }

    /// Appends an `int4`.
    package mutating func append(_ value: Int32) {
        bytes.append(bigEndian: Int32(4))
        bytes.append(bigEndian: value)
    }

    /// Appends a `uuid`.
    package mutating func append(_ value: UUID) {
        bytes.append(bigEndian: Int32(16))
        withUnsafeBytes(of: value.uuid) { bytes.append(contentsOf: $0) }
    }

    /// Appends a `bytea`, or NULL.
    package mutating func append(_ value: [UInt8]?) {
        bytes.append(bigEndian: value.map { Int32($0.count) } ?? -1)
        bytes += value ?? []
    }

    /// Appends a field with the bytes that `body` appends to its argument. If `body` returns false, it must have appended nothing,
    /// and the field is NULL.
    package mutating func append(_ body: (inout [UInt8]) throws -> Bool) rethrows {
        let start = bytes.count
        bytes.append(bigEndian: Int32(-1))
        guard try body(&bytes) else { return }
        let length = Int32(bytes.count - start - 4)
        withUnsafeBytes(of: length.bigEndian) { bytes.replaceSubrange(start..<(start + 4), with: $0) }
    }

    /// Removes everything after the first `count` bytes: the row that began there.
    package mutating func truncate(to count: Int) {
        bytes.removeSubrange(count...)
    }
}

extension [UInt8] {
    /// Appends an integer in network byte order.
    fileprivate mutating func append(bigEndian value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}
