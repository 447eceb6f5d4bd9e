import Glibc

/// Charsets that ICU lacks, converted by the system's `iconv`. Only names in ``CharsetLabels`` are used.
enum SystemCharset {
    /// How many bytes one call converts.
    private static let pieceSize = 1 << 16

    /// Whether the system has a converter.
    static func exists(_ name: String) -> Bool { withConverter(name) { _ in true } ?? false }

    /// - Returns: The text, with U+FFFD for each invalid byte; nil if the system has no such converter.
    static func decode(_ bytes: ArraySlice<UInt8>, _ name: String) -> String? {
        withConverter(name) { converter in
            // `iconv` requires writable memory, but does not write to it.
            var input = bytes.map { CChar(bitPattern: $0) }
            let output = input.withUnsafeMutableBufferPointer { convert($0, converter) }
            return String(decoding: output, as: UTF8.self)
        }
    }

    private static func withConverter<Result>(_ name: String, _ body: (iconv_t) -> Result) -> Result? {
        guard let converter = iconv_open("UTF-8", name), Int(bitPattern: converter) != -1 else { return nil }
        defer { iconv_close(converter) }
        return body(converter)
    }

    private static func convert(_ input: UnsafeMutableBufferPointer<CChar>, _ converter: iconv_t) -> [UInt8] {
        var result: [UInt8] = []
        var source = input.baseAddress
        var left = input.count
        var piece = [CChar](repeating: 0, count: pieceSize)
        while true {
            let (count, code) = piece.withUnsafeMutableBufferPointer { room in
                var target = room.baseAddress
                var free = room.count
                // The last call, without input, writes the converter's remaining output.
                let isDone = left == 0
                let status = isDone ? iconv(converter, nil, nil, &target, &free) : iconv(converter, &source, &left, &target, &free)
                return (room.count - free, status == -1 ? errno : isDone ? Int32(-1) : 0)
            }
            result += piece[..<count].map { UInt8(bitPattern: $0) }
            switch code {
            case 0, E2BIG: break
            case EILSEQ, EINVAL:
                guard left > 0, let byte = source else { return result }
                result += Array("\u{FFFD}".utf8)
                source = byte + 1
                left -= 1
            default: return result
            }
        }
    }
}
