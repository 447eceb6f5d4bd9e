import Glibc

extension ArraySlice<UInt8> {
    /// The index after the line feed of the line that begins at `start`; ``endIndex`` if there is no line feed.
    func lineEnd(from start: Int) -> Int {
        guard start < endIndex else { return endIndex }
        return withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, let found = memchr(base + (start - startIndex), 0x0A, endIndex - start) else {
                return endIndex
            }
            return startIndex + (UnsafeRawPointer(found) - base) + 1
        }
    }

    /// A line without its line end.
    var chomped: ArraySlice<UInt8> {
        var line = self
        if line.last == 0x0A { line.removeLast() }
        if line.last == 0x0D { line.removeLast() }
        return line
    }

    /// Whether the line has only characters of a line end, as in CR CR LF.
    var isEmptyLine: Bool { allSatisfy { $0 == 0x0A || $0 == 0x0D } }

    /// Whether there is a CR without LF.
    var hasLoneReturn: Bool { indices.contains { self[$0] == 0x0D && ($0 + 1 == endIndex || self[$0 + 1] != 0x0A) } }

    /// The same bytes, with LF in place of each CR that is not before LF.
    var withLineFeeds: ArraySlice<UInt8> {
        var lines = Array(self)
        for index in lines.indices where lines[index] == 0x0D && (index + 1 == lines.endIndex || lines[index + 1] != 0x0A) {
            lines[index] = 0x0A
        }
        return lines[...]
    }

    /// The bytes without the blanks at both ends.
    var trimmed: ArraySlice<UInt8> {
        var slice = self
        while let first = slice.first, first.isBlank { slice.removeFirst() }
        while let last = slice.last, last.isBlank { slice.removeLast() }
        return slice
    }
}

extension UInt8 {
    /// Whether the byte is a space, a tab, CR or LF.
    var isBlank: Bool { self == 0x20 || self == 0x09 || self == 0x0D || self == 0x0A }

    /// The value of a hexadecimal digit.
    var hexadecimal: UInt8? {
        switch self {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): self - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): self - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): self - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

extension Unicode.Scalar {
    /// Whether the character is visible. False for control and format characters, separators, unassigned and private-use
    /// characters, and characters that are displayed as blank.
    package var isVisible: Bool {
        switch properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned: false
        default: !properties.isDefaultIgnorableCodePoint && self != "\u{2800}"
        }
    }

    /// Whether the character is a control character, or ends a line.
    var isControl: Bool { value < 0x20 || (0x7F...0x9F).contains(value) || value == 0x2028 || value == 0x2029 }
}
