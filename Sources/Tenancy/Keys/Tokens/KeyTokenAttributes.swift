internal import CPKCS11

/// Attributes of an object in a PKCS#11 token, in the form in which PKCS#11 functions take them.
struct KeyTokenAttributes {
    /// One attribute with its value.
    enum Attribute {
        case number(CK_ULONG, CK_ULONG)
        case flag(CK_ULONG, Bool)
        case text(CK_ULONG, String)

        var type: CK_ULONG {
            switch self {
            case .number(let type, _), .flag(let type, _), .text(let type, _): type
            }
        }

        var bytes: [UInt8] {
            switch self {
            case .number(_, let number): withUnsafeBytes(of: number) { Array($0) }
            case .flag(_, let flag): [flag ? 1 : 0]
            case .text(_, let text): Array(text.utf8)
            }
        }
    }

    private let attributes: [Attribute]

    /// - Parameter attributes: At least one.
    init(_ attributes: [Attribute]) {
        precondition(!attributes.isEmpty, "no attributes")
        self.attributes = attributes
    }

    /// Passes the attributes to a closure, with each value at an aligned address.
    func withPointer<Result>(_ body: (UnsafeMutablePointer<CK_ATTRIBUTE>, CK_ULONG) throws -> Result) rethrows -> Result {
        let values = attributes.map { attribute in
            let bytes = attribute.bytes
            let value = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: MemoryLayout<CK_ULONG>.alignment)
            value.copyBytes(from: bytes)
            return value
        }
        defer { for value in values { value.deallocate() } }
        var list = zip(attributes, values).map { attribute, value in
            CK_ATTRIBUTE(type: attribute.type, pValue: value.baseAddress, ulValueLen: CK_ULONG(value.count))
        }
        return try list.withUnsafeMutableBufferPointer { list in
            // The array is not empty, so it has an address.
            guard let first = list.baseAddress else { preconditionFailure("no attributes") }
            return try body(first, CK_ULONG(list.count))
        }
    }
}
