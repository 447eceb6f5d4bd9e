/// Seals and opens cells under one 64-byte key.
///
/// An instance keeps its libcrypto contexts and random IVs. One thread at a time may use an instance, so give each thread a
/// separate one, or take one from ``DataKey/withCipher(_:)``.
public final class CellCipher {
    private let cipher: AuthenticatedCipher
    private var associatedData: [UInt8] = []
    private var plaintext: [UInt8] = []
    private var randomness: [UInt8] = []
    private var randomnessUsed = 0
    /// How many IVs are generated at a time. One call to the random generator costs as much as encrypting 32 bytes.
    private static let randomnessLength = 64 * AuthenticatedCipher.ivLength

    init(key: SecretBytes) throws(CryptoLibraryError) {
        cipher = try AuthenticatedCipher(key: key)
    }

    deinit { plaintext.withUnsafeMutableBytes { secureWipe($0) } }

    /// Seals a value for one place.
    ///
    /// - Parameters:
    ///   - value: The value's bytes, of any length.
    ///   - address: The place. The cell opens only there.
    ///   - keyVersion: 1 or more.
    public func seal(
        _ value: UnsafeRawBufferPointer,
        at address: CellAddress,
        keyVersion: UInt32
    ) throws -> Cell {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Cell.length(ofPlaintext: value.count))
        try seal(value, at: address, keyVersion: keyVersion, appendingTo: &bytes)
        return Cell(sealed: bytes)
    }

    /// Seals a value and appends the cell's bytes to a buffer that the caller reuses.
    public func seal(
        _ value: UnsafeRawBufferPointer,
        at address: CellAddress,
        keyVersion: UInt32,
        appendingTo output: inout [UInt8]
    ) throws {
        if randomnessUsed == randomness.count {
            randomness = try randomBytes(count: Self.randomnessLength)
            randomnessUsed = 0
        }
        let used = randomnessUsed
        randomnessUsed += AuthenticatedCipher.ivLength
        try randomness.withUnsafeBytes { bytes in
            let iv = UnsafeRawBufferPointer(rebasing: bytes[used..<(used + AuthenticatedCipher.ivLength)])
            try seal(value, at: address, keyVersion: keyVersion, iv: iv, appendingTo: &output)
        }
    }

    func seal(
        _ value: UnsafeRawBufferPointer,
        at address: CellAddress,
        keyVersion: UInt32,
        iv: UnsafeRawBufferPointer,
        appendingTo output: inout [UInt8]
    ) throws {
        precondition(keyVersion > 0, "key versions start at 1")
        let start = output.count
        output.append(Cell.format)
        withUnsafeBytes(of: keyVersion.bigEndian) { output.append(contentsOf: $0) }
        output.append(contentsOf: iv)
        let end = start + Cell.length(ofPlaintext: value.count)
        output.append(contentsOf: repeatElement(0, count: end - output.count))
        try output.withUnsafeMutableBytes { all in
            let cell = UnsafeMutableRawBufferPointer(rebasing: all[start..<end])
            let header = UnsafeRawBufferPointer(rebasing: cell[..<Cell.headerLength])
            try withAssociatedData(address, header: header) { associatedData in
                try cipher.seal(
                    value,
                    iv: iv,
                    associatedData: associatedData,
                    into: UnsafeMutableRawBufferPointer(rebasing: cell[Cell.ciphertextOffset...])
                )
            }
        }
    }

    /// Opens a cell and passes its plaintext to a closure. The buffer is wiped afterwards.
    ///
    /// - Throws: ``CellError`` when the cell does not open at `address`, for any cause; also the errors of `body`.
    public func open<Result>(
        _ cell: UnsafeRawBufferPointer,
        at address: CellAddress,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        guard Cell.isWellFormed(cell) else { throw CellError() }
        let ciphertext = UnsafeRawBufferPointer(
            rebasing: cell[Cell.ciphertextOffset..<(cell.count - AuthenticatedCipher.tagLength)]
        )
        if plaintext.count < ciphertext.count {
            plaintext.withUnsafeMutableBytes { secureWipe($0) }
            plaintext = [UInt8](repeating: 0, count: ciphertext.count)
        }
        let header = UnsafeRawBufferPointer(rebasing: cell[..<Cell.headerLength])
        return try plaintext.withUnsafeMutableBytes { buffer in
            let output = UnsafeMutableRawBufferPointer(rebasing: buffer[..<ciphertext.count])
            defer { secureWipe(output) }
            let length = try withAssociatedData(address, header: header) { associatedData in
                try cipher.open(
                    ciphertext,
                    tag: UnsafeRawBufferPointer(rebasing: cell[(cell.count - AuthenticatedCipher.tagLength)...]),
                    iv: UnsafeRawBufferPointer(rebasing: cell[Cell.headerLength..<Cell.ciphertextOffset]),
                    associatedData: associatedData,
                    into: output
                )
            }
            guard let length else { throw CellError() }
            return try body(UnsafeRawBufferPointer(rebasing: output[..<length]))
        }
    }

    private func withAssociatedData<Result>(
        _ address: CellAddress,
        header: UnsafeRawBufferPointer,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        let length = address.associatedDataLength
        if associatedData.count < length { associatedData = [UInt8](repeating: 0, count: length) }
        return try associatedData.withUnsafeMutableBytes { buffer in
            let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer[..<length])
            address.writeAssociatedData(header: header, to: bytes)
            return try body(UnsafeRawBufferPointer(bytes))
        }
    }
}
