/// Safe file names of attachments (RFC 2183 sections 2.3 and 5): never empty, without a path or invisible characters.
enum AttachmentName {
    /// The longest name in UTF-16 units.
    private static let limit = 255

    /// A safe name.
    ///
    /// - Parameters:
    ///   - name: The original name; nil for none.
    ///   - type: The content type. If there is no name, the type determines the safe name.
    static func safe(_ name: String?, type: String) -> String {
        guard let name else { return fallback(type) }
        var clean = Array(name.unicodeScalars).filter { !$0.isControl && !isInvisible($0) }
        if isPath(clean) { clean = clean.split { isSeparator($0) }.last.map(Array.init) ?? [] }
        clean = clean.map { isSeparator($0) ? "_" : $0 }
        while let last = clean.last, last == "." || last.properties.isWhitespace { clean.removeLast() }
        while let first = clean.first, first.properties.isWhitespace { clean.removeFirst() }
        return clean.isEmpty ? fallback(type) : cut(text(clean))
    }

    private static func text(_ scalars: [Unicode.Scalar]) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }

    private static func isSeparator(_ scalar: Unicode.Scalar) -> Bool { scalar == "/" || scalar == "\\" }

    /// The name of a forwarded message: its subject.
    static func message(subject: String) -> String {
        let name = subject.unicodeScalars.prefix(100).map { isSeparator($0) ? "_" : $0 }
        let safe = safe(text(name), type: "message/rfc822")
        return safe.hasSuffix(".eml") ? safe : "\(safe).eml"
    }

    /// The name of a part that has only a Content-ID: this id with an extension that fits the type.
    static func content(id: String?, type: String) -> String {
        let fallback = fallback(type)
        guard let id, let dot = fallback.lastIndex(of: "."), safe(id, type: type) != fallback else { return fallback }
        let ending = fallback[dot...]
        return safe(id.lowercased().hasSuffix(ending) ? id : "\(id)\(ending)", type: type)
    }

    /// Whether a name contains folders. If a name contains folders, only its last part is used.
    private static func isPath(_ name: [Unicode.Scalar]) -> Bool {
        guard let first = name.first, name.contains(where: isSeparator) else {
            return name.first == "." && name.allSatisfy { $0 == "." }
        }
        let isDrive = name.count > 2 && name[1] == ":" && isSeparator(name[2])
        return isDrive || isSeparator(first)
            || name.split(omittingEmptySubsequences: false) { isSeparator($0) }.contains { $0 == ["."] || $0 == [".", "."] }
    }

    /// Characters that change the text direction, or are invisible.
    static func isInvisible(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x200B, 0x200E, 0x200F, 0x202A...0x202E, 0x2060...0x2069, 0xFEFF: true
        default: false
        }
    }

    /// Cuts a name to the limit, and keeps its extension.
    private static func cut(_ name: String) -> String {
        guard name.utf16.count > limit else { return name }
        let ending = name.lastIndex(of: ".").map { name[$0...] }.flatMap { $0.utf16.count <= 20 ? $0 : nil } ?? ""
        return name.prefix(units: limit - ending.utf16.count) + ending
    }

    private static func fallback(_ type: String) -> String {
        if let known = names[type] { return known }
        let parts = type.split(separator: "/")
        guard parts.count == 2 else { return "attachment.bin" }
        guard ["image", "audio", "video"].contains(parts[0]) else {
            let suffix = parts[1].split(separator: "+").dropFirst().last.map(String.init)
            if let suffix, ["xml", "json", "zip", "gzip"].contains(suffix) {
                return "attachment.\(suffix == "gzip" ? "gz" : suffix)"
            }
            return parts[0] == "text" ? "attachment.txt" : "attachment.bin"
        }
        let sub = parts[1].split(separator: "+")[0]
        return sub.utf8.count <= 10 && sub.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber) }
            ? "\(parts[0]).\(sub)" : "\(parts[0]).bin"
    }

    private static let names = [
        "text/plain": "attachment.txt", "text/html": "attachment.html", "text/calendar": "invitation.ics",
        "text/csv": "attachment.csv",
        "text/vcard": "contact.vcf", "text/x-vcard": "contact.vcf", "text/directory": "contact.vcf", "text/xml": "attachment.xml",
        "text/rtf": "attachment.rtf", "application/rtf": "attachment.rtf", "text/x-amp-html": "attachment.html",
        "text/rfc822-headers": "headers.txt", "message/rfc822": "message.eml", "message/global": "message.eml",
        "message/delivery-status": "delivery-status.txt", "message/global-delivery-status": "delivery-status.txt",
        "message/disposition-notification": "disposition-notification.txt", "message/feedback-report": "feedback-report.txt",
        "message/partial": "partial.txt", "message/external-body": "external-body.txt", "application/pdf": "attachment.pdf",
        "application/zip": "attachment.zip", "application/json": "attachment.json", "application/xml": "attachment.xml",
        "application/ms-tnef": "winmail.dat", "application/vnd.ms-tnef": "winmail.dat", "application/ics": "invitation.ics",
        "application/pkcs7-signature": "smime.p7s", "application/x-pkcs7-signature": "smime.p7s",
        "application/pkcs7-mime": "smime.p7m", "application/x-pkcs7-mime": "smime.p7m",
        "application/pgp-signature": "signature.asc", "application/pgp-encrypted": "encryption.asc",
        "application/pgp-keys": "key.asc",
        "message/global-headers": "headers.txt", "application/x-zip-compressed": "attachment.zip",
        "application/x-zip": "attachment.zip", "application/gzip": "attachment.gz", "application/x-gzip": "attachment.gz",
        "application/x-7z-compressed": "attachment.7z", "application/x-rar-compressed": "attachment.rar",
        "application/vnd.rar": "attachment.rar", "application/x-tar": "attachment.tar", "application/x-pdf": "attachment.pdf",
        "application/xhtml+xml": "attachment.xhtml", "application/postscript": "attachment.ps",
        "application/msword": "attachment.doc", "application/vnd.ms-excel": "attachment.xls",
        "application/vnd.ms-powerpoint": "attachment.ppt", "application/vnd.ms-outlook": "message.msg",
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "attachment.docx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "attachment.xlsx",
        "application/vnd.openxmlformats-officedocument.presentationml.presentation": "attachment.pptx",
        "application/vnd.oasis.opendocument.text": "attachment.odt",
        "application/vnd.oasis.opendocument.spreadsheet": "attachment.ods",
        "text/css": "attachment.css", "text/javascript": "attachment.js", "text/json": "attachment.json",
        "image/jpeg": "image.jpg", "image/svg+xml": "image.svg", "image/x-icon": "image.ico", "audio/mpeg": "audio.mp3",
        "video/quicktime": "video.mov",
    ]
}
