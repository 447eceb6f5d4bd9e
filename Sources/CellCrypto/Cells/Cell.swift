/// One sealed value in a `bytea` column: format, key version, IV, ciphertext, tag (`docs/cell-format.md`).
///
/// A `Cell` has the right format. Whether it is authentic shows only when it is opened.
public struct Cell: Sendable, Hashable {
    /// The number of the only format, which is the first byte of every cell.
    public static let format: UInt8 = 1
    /// Length of the shortest cell, in bytes.
    public static let minimumLength = 69
    static let headerLength = 5
    static let ciphertextOffset = headerLength + AuthenticatedCipher.ivLength

    /// The cell's bytes, at least 69.
    public let bytes: [UInt8]

    /// Parses the bytes of a cell.
    ///
    /// - Throws: ``CellError`` if the bytes are not a well-formed cell.
    public init(_ bytes: [UInt8]) throws(CellError) {
        guard bytes.withUnsafeBytes({ Cell.isWellFormed($0) }) else { throw CellError() }
        self.bytes = bytes
    }

    init(sealed bytes: [UInt8]) { self.bytes = bytes }

    /// The key version that the cell is sealed under.
    public var keyVersion: UInt32 { bytes.withUnsafeBytes { Cell.keyVersion(of: $0) } }

    /// The length of a cell for `count` bytes of plaintext.
    public static func length(ofPlaintext count: Int) -> Int {
        ciphertextOffset + AuthenticatedCipher.ciphertextLength(of: count) + AuthenticatedCipher.tagLength
    }

    static func isWellFormed(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= minimumLength && bytes[0] == format && keyVersion(of: bytes) > 0
            && (bytes.count - ciphertextOffset - AuthenticatedCipher.tagLength) % AuthenticatedCipher.blockLength == 0
    }

    static func keyVersion(of bytes: UnsafeRawBufferPointer) -> UInt32 {
        UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self))
    }
}
