/// A media type with its parameters (RFC 2045 section 5.1), as programs declare it for a file.
package struct MediaType: Sendable, Equatable {
    /// A parameter: its name in lower case, and its value without quotes.
    package struct Parameter: Sendable, Equatable {
        package let name: String
        package let value: String
    }

    /// The longest type, parameter name and parameter value in bytes.
    private static let limit = 200

    /// Type and subtype in their original form.
    package let name: String
    package let parameters: [Parameter]

    /// - Returns: Nil for an invalid media type.
    package init?(_ text: String) {
        var rest = text.utf8[...]
        func skipBlanks() { rest = rest.drop { $0 == 0x20 || $0 == 0x09 } }
        func token() -> String? {
            let token = rest.prefix(while: Self.isTokenByte)
            guard (1...Self.limit).contains(token.count) else { return nil }
            rest = rest.dropFirst(token.count)
            return String(Substring(token))
        }
        func sign(_ sign: Character) -> Bool {
            guard rest.first == sign.asciiValue else { return false }
            rest = rest.dropFirst()
            return true
        }
        skipBlanks()
        guard let main = token(), sign("/"), let sub = token() else { return nil }
        name = "\(main)/\(sub)"
        var parameters: [Parameter] = []
        skipBlanks()
        while !rest.isEmpty {
            guard sign(";") else { return nil }
            skipBlanks()
            // A semicolon at the end is allowed.
            if rest.isEmpty { break }
            guard let name = token()?.lowercased(), sign("=") else { return nil }
            let quoted = rest.first == UInt8(ascii: "\"") ? Self.quoted(&rest) : token()
            guard let value = quoted, !parameters.contains(where: { $0.name == name }) else { return nil }
            parameters.append(Parameter(name: name, value: value))
            skipBlanks()
        }
        self.parameters = parameters
    }

    private static func isTokenByte(_ byte: UInt8) -> Bool {
        (0x21...0x7E).contains(byte) && !"()<>@,;:\\\"/[]?=".utf8.contains(byte)
    }

    /// The contents of a quoted string of printable ASCII; nil without an end.
    private static func quoted(_ rest: inout Substring.UTF8View) -> String? {
        var value: [UInt8] = []
        var isEscaped = false
        for (offset, byte) in rest.dropFirst().enumerated() {
            guard (0x20...0x7E).contains(byte), value.count < limit else { return nil }
            if !isEscaped, byte == UInt8(ascii: "\"") {
                rest = rest.dropFirst(offset + 2)
                return String(decoding: value, as: UTF8.self)
            }
            isEscaped = !isEscaped && byte == UInt8(ascii: "\\")
            if !isEscaped { value.append(byte) }
        }
        return nil
    }

    /// The value of Content-Type, with one parameter on each line. The file name is omitted, because another field has it.
    var lines: [String] {
        [name]
            + parameters.filter { $0.name != "name" && !$0.name.hasPrefix("name*") }.map { parameter in
                let value = parameter.value
                guard value.isEmpty || !value.utf8.allSatisfy(Self.isTokenByte) else { return "\(parameter.name)=\(value)" }
                return "\(parameter.name)=\"\(value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
            }
    }

    /// Whether a part in Base64 may have the type (RFC 2045 section 6.4).
    var isOfFile: Bool { !["multipart/", "message/"].contains { name.lowercased().hasPrefix($0) } }
}
