import Foundation

/// The name of a folder in IMAP's encoding: a quoted string in modified UTF-7 (RFC 3501 sections 4.3 and 5.1.3).
enum IMAPFolderName {
    /// Whether a name means the inbox, which is the same in upper and lower case.
    static func isInbox(_ name: String) -> Bool { name.trimmingCharacters(in: .whitespaces).uppercased() == "INBOX" }

    static func quoted(_ name: String) -> String {
        var text = ""
        var others: [UInt16] = []
        func flush() {
            guard !others.isEmpty else { return }
            let bytes = others.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xFF)] }
            text += "&\(Data(bytes).base64EncodedString().replacing("/", with: ",").replacing("=", with: ""))-"
            others = []
        }
        for unit in name.utf16 {
            guard (0x20..<0x7F).contains(unit), let scalar = UnicodeScalar(unit) else {
                others.append(unit)
                continue
            }
            flush()
            switch scalar {
            case "&": text += "&-"
            case "\\", "\"": text += "\\\(scalar)"
            default: text.unicodeScalars.append(scalar)
            }
        }
        flush()
        return "\"\(text)\""
    }
}
