import CGMime
import Foundation

/// Writes an e-mail as a message (RFC 5322, MIME): 7-bit clean, CRLF, and no header that a record's text could add.
struct MessageComposer {
    let email: PendingEmail

    /// The message's bytes.
    func bytes() -> [UInt8] {
        _ = MailMessage.start
        guard let message = g_mime_message_new(1) else { return [] }
        defer { g_object_unref(message) }
        let object = mime_object(message)
        g_mime_message_set_subject(message, Self.clean(email.subject), "utf-8")
        add(GMIME_ADDRESS_TYPE_FROM, [email.from], to: message)
        add(GMIME_ADDRESS_TYPE_TO, email.to, to: message)
        add(GMIME_ADDRESS_TYPE_CC, email.cc, to: message)
        if let date = g_date_time_new_now_utc() {
            g_mime_message_set_date(message, date)
            g_date_time_unref(date)
        }
        g_mime_message_set_message_id(message, Self.bare(email.messageID))
        func header(_ name: String, _ value: String) { g_mime_object_set_header(object, name, Self.clean(value), "utf-8") }
        if let parent = email.inReplyTo {
            header("In-Reply-To", "<\(Self.bare(parent))>")
            header("References", "<\(Self.bare(parent))>")
        }
        if email.priority != 1 { header("Importance", email.priority == 2 ? "high" : "low") }
        if email.readReceiptRequested { header("Disposition-Notification-To", email.from.address) }
        guard let body = text() else { return [] }
        if email.attachments.isEmpty {
            g_mime_message_set_mime_part(message, body)
        } else if let multipart = g_mime_multipart_new_with_subtype("mixed") {
            g_mime_multipart_add(multipart, body)
            for attachment in email.attachments { add(attachment, to: multipart) }
            g_mime_message_set_mime_part(message, mime_object(multipart))
            g_object_unref(multipart)
        }
        g_object_unref(body)
        let format = g_mime_format_options_new()
        defer { g_mime_format_options_free(format) }
        g_mime_format_options_set_newline_format(format, GMIME_NEWLINE_FORMAT_DOS)
        return MailMessage.collect { g_mime_object_write_to_stream(object, format, $0) }
    }

    private func add(_ kind: GMimeAddressType, _ people: [PendingEmail.Person], to message: UnsafeMutablePointer<GMimeMessage>) {
        for person in people {
            let name = person.name == person.address ? "" : Self.clean(person.name)
            g_mime_message_add_mailbox(message, kind, name.isEmpty ? nil : name, person.address)
        }
    }

    private func text() -> UnsafeMutablePointer<GMimeObject>? {
        let isHTML = email.body.contains(/<[A-Za-z!\/][^<>]*>/)
        guard let part = g_mime_text_part_new_with_subtype(isHTML ? "html" : "plain") else { return nil }
        g_mime_text_part_set_charset(part, "utf-8")
        g_mime_text_part_set_text(part, email.body.replacing("\0", with: ""))
        g_mime_part_set_content_encoding(mime_part(mime_object(part)), GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE)
        return mime_object(part)
    }

    private func add(_ attachment: PendingEmail.Attachment, to multipart: UnsafeMutablePointer<GMimeMultipart>) {
        let type = attachment.type.split(separator: "/").map {
            String($0.filter { $0.isASCII && ($0.isLetter || $0.isNumber || "-+.".contains($0)) })
        }
        let isUsable =
            type.count == 2 && !type[0].isEmpty && !type[1].isEmpty && !["multipart", "message"].contains(type[0].lowercased())
        guard let part = g_mime_part_new_with_type(isUsable ? type[0] : "application", isUsable ? type[1] : "octet-stream"),
            let content = Data(base64Encoded: attachment.body),
            let stream = content.withUnsafeBytes({ g_mime_stream_mem_new_with_buffer($0.baseAddress, content.count) }),
            let wrapper = g_mime_data_wrapper_new_with_stream(stream, GMIME_CONTENT_ENCODING_DEFAULT)
        else { return }
        g_mime_part_set_content(part, wrapper)
        g_mime_part_set_content_encoding(part, GMIME_CONTENT_ENCODING_BASE64)
        g_mime_part_set_filename(part, Self.clean(attachment.name))
        g_mime_object_set_disposition(mime_object(part), "attachment")
        g_mime_multipart_add(multipart, mime_object(part))
        for object in [UnsafeMutableRawPointer(part), UnsafeMutableRawPointer(wrapper), UnsafeMutableRawPointer(stream)] {
            g_object_unref(object)
        }
    }

    /// One line without anything that could end it.
    private static func clean(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map {
                    $0.properties.generalCategory == .control || $0.value == 0x2028 || $0.value == 0x2029 ? " " : $0
                }))
    }

    private static func bare(_ id: String) -> String { String(id.filter { !"<> ".contains($0) && !$0.isNewline }) }
}
