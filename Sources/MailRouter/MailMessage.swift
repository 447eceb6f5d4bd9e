import CGMime
public import Foundation

/// A message as GMime takes it apart (RFC 5322, RFC 2045 to 2049), in UTF-8 whatever its charsets were.
public struct MailMessage: Sendable {
    public var subject = ""
    public var from = ""
    public var to: [String] = []
    public var cc: [String] = []
    /// With its angle brackets, as it stands in the header; empty where there is none.
    public var messageID = ""
    /// In-Reply-To, then References from the newest on.
    public var references: [String] = []
    public var date: Date?
    public var importance = "Normal"
    public var body = ""
    public var isHTML = false
    public var attachments: [Attachment] = []
    /// Messages that were forwarded as attachments, whole.
    public var messages: [[UInt8]] = []

    /// A part that is not the text.
    public struct Attachment: Sendable {
        public let name: String
        public let type: String
        public let bytes: [UInt8]
    }

    /// Multiparts within each other that are looked into; deeper ones are passed over.
    private static let depthLimit = 30
    /// Parts that are looked at.
    private static let partLimit = 1_000
    /// Addresses of one header that are taken.
    private static let addressLimit = 10_000

    static let start: Void = g_mime_init()

    /// Takes a message apart. There is no message that it refuses: what can't be understood is left empty.
    ///
    /// - Parameter keepsMessages: Whether forwarded messages are wanted whole, instead of as attachments.
    public init(_ bytes: [UInt8], keepsMessages: Bool = false) {
        _ = Self.start
        // GMime's parser goes into itself for every multipart: who nests thousands gets no further than the header.
        let deepest = Self.boundaries(bytes) > Self.partLimit ? Self.headerLength(bytes) : bytes.count
        guard let stream = bytes.withUnsafeBytes({ g_mime_stream_mem_new_with_buffer($0.baseAddress, deepest) }) else { return }
        defer { g_object_unref(stream) }
        guard let parser = g_mime_parser_new_with_stream(stream) else { return }
        defer { g_object_unref(parser) }
        guard let message = g_mime_parser_construct_message(parser, nil) else { return }
        defer { g_object_unref(message) }
        readHeader(message)
        guard let part = g_mime_message_get_mime_part(message) else { return }
        var walk = Walk(keepsMessages: keepsMessages)
        visit(part, depth: 0, &walk)
        if let html = walk.html { (body, isHTML) = (html, true) } else { body = walk.plain ?? "" }
    }

    private struct Walk {
        let keepsMessages: Bool
        var html: String?
        var plain: String?
        var parts = 0
    }

    private static func boundaries(_ bytes: [UInt8]) -> Int {
        let needle = Array("boundary".utf8)
        var count = 0
        var index = 0
        while index + needle.count <= bytes.count {
            if bytes[index] | 0x20 == needle[0], zip(needle, bytes[index..<index + needle.count]).allSatisfy({ $0 == $1 | 0x20 }) {
                count += 1
                index += needle.count
            } else {
                index += 1
            }
        }
        return count
    }

    private static func headerLength(_ bytes: [UInt8]) -> Int {
        for index in bytes.indices.dropFirst(3)
        where bytes[index] == 0x0A && (bytes[index - 1] == 0x0A || bytes[index - 2] == 0x0A && bytes[index - 1] == 0x0D) {
            return index
        }
        return bytes.count
    }

    private mutating func readHeader(_ message: UnsafeMutablePointer<GMimeMessage>) {
        subject = Self.text(g_mime_message_get_subject(message))
        from =
            Self.addresses(g_mime_message_get_from(message)).first ?? Self.addresses(g_mime_message_get_sender(message)).first ?? ""
        to = Self.addresses(g_mime_message_get_to(message))
        cc = Self.addresses(g_mime_message_get_cc(message))
        let object = mime_object(message)
        func header(_ name: String) -> String { Self.text(g_mime_object_get_header(object, name)) }
        messageID = String(header("Message-ID").prefix(320))
        references = Self.ids(header("In-Reply-To")) + Self.ids(header("References")).reversed()
        if let date = g_mime_message_get_date(message) {
            self.date = Date(timeIntervalSince1970: Double(g_date_time_to_unix(date)))
        }
        let priority = header("X-Priority").first
        switch header("Importance").lowercased() {
        case "high": importance = "High"
        case "low": importance = "Low"
        default: importance = priority == "1" || priority == "2" ? "High" : priority == "4" || priority == "5" ? "Low" : "Normal"
        }
    }

    /// The Message-IDs in a header, with their angle brackets: 100 at most.
    private static func ids(_ text: String) -> [String] {
        text.split { $0 != ">" && $0.isWhitespace || $0 == "<" }
            .lazy.compactMap { part in part.firstIndex(of: ">").map { "<\(part[..<$0])>" } }
            .filter { (3...320).contains($0.utf8.count) }.prefix(100).map(\.self)
    }

    private static func text(_ pointer: UnsafePointer<CChar>?) -> String { pointer.map { String(cString: $0) } ?? "" }

    private static func addresses(_ list: UnsafeMutablePointer<InternetAddressList>?) -> [String] {
        guard let list else { return [] }
        var found: [String] = []
        for index in 0..<internet_address_list_length(list) where found.count < addressLimit {
            guard let address = internet_address_list_get_address(list, index) else { continue }
            if mime_is_mailbox(address) != 0 {
                let text = text(internet_address_mailbox_get_addr(mime_mailbox(address)))
                if !text.isEmpty { found.append(text) }
            } else if mime_is_group(address) != 0 {
                found += addresses(internet_address_group_get_members(mime_group(address)))
            }
        }
        return found
    }

    private mutating func visit(_ object: UnsafeMutablePointer<GMimeObject>, depth: Int, _ walk: inout Walk) {
        walk.parts += 1
        guard depth <= Self.depthLimit, walk.parts <= Self.partLimit else { return }
        if mime_is_multipart(object) != 0 {
            let multipart = mime_multipart(object)
            for index in 0..<g_mime_multipart_get_count(multipart) {
                if let part = g_mime_multipart_get_part(multipart, index) { visit(part, depth: depth + 1, &walk) }
            }
        } else if mime_is_message(object) != 0 {
            guard let inner = g_mime_message_part_get_message(mime_message_part(object)) else { return }
            let bytes = Self.bytes(of: mime_object(inner))
            if walk.keepsMessages {
                messages.append(bytes)
            } else {
                attachments.append(
                    Attachment(
                        name: "\(Self.text(g_mime_message_get_subject(inner)).prefix(100)).eml", type: "message/rfc822",
                        bytes: bytes))
            }
        } else if mime_is_part(object) != 0 {
            visitPart(object, &walk)
        }
    }

    private mutating func visitPart(_ object: UnsafeMutablePointer<GMimeObject>, _ walk: inout Walk) {
        let part = mime_part(object)
        let isAttachment = g_mime_part_is_attachment(part) != 0
        if mime_is_text(object) != 0, !isAttachment, let text = Self.decoded(object) {
            let type = g_mime_object_get_content_type(object)
            if g_mime_content_type_is_type(type, "text", "html") != 0, walk.html == nil {
                walk.html = text
                return
            }
            if g_mime_content_type_is_type(type, "text", "plain") != 0, walk.plain == nil {
                walk.plain = text
                return
            }
        }
        let type = g_mime_content_type_get_mime_type(g_mime_object_get_content_type(object))
        defer { g_free(type) }
        let name =
            g_mime_part_get_filename(part).map { String(cString: $0) } ?? g_mime_object_get_content_id(object).map {
                String(cString: $0)
            } ?? "attachment"
        attachments.append(Attachment(name: name, type: Self.text(type), bytes: Self.content(of: part)))
    }

    /// The text of a part in UTF-8; bytes that its charset does not have become U+FFFD.
    private static func decoded(_ object: UnsafeMutablePointer<GMimeObject>) -> String? {
        guard let text = g_mime_text_part_get_text(mime_text(object)) else {
            return String(decoding: content(of: mime_part(object)), as: UTF8.self)
        }
        defer { g_free(text) }
        return String(cString: text)
    }

    private static func content(of part: UnsafeMutablePointer<GMimePart>) -> [UInt8] {
        guard let wrapper = g_mime_part_get_content(part) else { return [] }
        return collect { g_mime_data_wrapper_write_to_stream(wrapper, $0) }
    }

    private static func bytes(of object: UnsafeMutablePointer<GMimeObject>) -> [UInt8] {
        collect { g_mime_object_write_to_stream(object, nil, $0) }
    }

    static func collect(_ write: (UnsafeMutablePointer<GMimeStream>) -> Int) -> [UInt8] {
        guard let stream = g_mime_stream_mem_new() else { return [] }
        defer { g_object_unref(stream) }
        _ = write(stream)
        guard let array = g_mime_stream_mem_get_byte_array(mime_memory(stream)) else { return [] }
        return Array(UnsafeBufferPointer(start: array.pointee.data, count: Int(array.pointee.len)))
    }
}
