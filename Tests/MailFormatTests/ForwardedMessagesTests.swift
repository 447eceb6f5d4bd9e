import Foundation
import MailFormat
import Testing

/// Messages that users forward to a forward mailbox as attachments of another message.
@Suite("Forwarded messages")
struct ForwardedMessagesTests {
    private static let inner = "--b\r\nContent-Type: message/rfc822\r\n\r\nFrom: c@x.test\r\nSubject: inner\r\n\r\nWords.\r\n"

    private static func read(_ subtype: String, _ parts: String...) -> MailMessage {
        let body = parts.map { "--b\r\n\($0)\r\n" }.joined() + inner + "--b--\r\n"
        let header = "From: rule@x.test\r\nContent-Type: multipart/\(subtype); boundary=b\r\n\r\n"
        return MailMessage(Array((header + body).utf8), keepsMessages: true)
    }

    @Test("A message whose only content is a forwarded message has no contents of its own")
    func nothingElse() {
        for parts in [
            nil, "Content-Type: text/plain\r\n\r\n  \r\n", "Content-Type: text/html\r\n\r\n<html><body><p>&nbsp;</p></body></html>",
        ] {
            let message = parts.map { Self.read("mixed", $0) } ?? Self.read("mixed")
            #expect(message.messages.count == 1 && !message.saysMore)
        }
    }

    @Test("A text or a file of the person who forwards counts as the message's own contents")
    func more() {
        for part in [
            "Content-Type: text/plain\r\n\r\nPlease answer.", "Content-Type: application/pdf; name=a.pdf\r\n\r\n%PDF",
            "Content-Type: message/external-body; access-type=URL; URL=\"http://x.test/\"\r\n\r\n",
        ] {
            let message = Self.read("mixed", part)
            #expect(message.messages.count == 1 && message.saysMore)
        }
    }

    @Test("The message in a delivery report is an attachment, and does not count as forwarded")
    func report() {
        let report = Self.read("report; report-type=delivery-status", "Content-Type: text/plain\r\n\r\nIt bounced.")
        #expect(report.messages.isEmpty && report.body.contains("It bounced.") && report.attachments.count == 1)
        let nested =
            "Content-Type: multipart/report; boundary=r\r\n\r\n--r\r\n\r\nIt bounced.\r\n--r\r\nContent-Type: message/rfc822\r\n\r\nFrom: d@x.test\r\n\r\nX\r\n--r--\r\n"
        let mixed = Self.read("mixed", nested)
        #expect(mixed.messages.count == 1 && mixed.attachments.count == 1 && mixed.saysMore)
    }

    @Test("The arrival time is that of the newest Received field, or else that of the Date field")
    func arrival() {
        func arrival(_ header: String) -> Date? { MailMessage.arrival(of: Array("From: c@x.test\r\n\(header)\r\nWords.".utf8)) }
        let date = Date(timeIntervalSince1970: 1_577_872_800)
        let traced =
            "Received: from a by b; Wed, 01 Jan 2020 10:00:00 +0000\r\nReceived: from c; Tue, 31 Dec 2019 10:00:00 +0000\r\n"
        #expect(arrival(traced + "Date: Thu, 26 Nov 2026 10:00:00 +0000\r\n") == date)
        #expect(arrival("Received: from a by b\r\nDate: Wed, 01 Jan 2020 10:00:00 +0000\r\n") == date)
        #expect(arrival("") == nil)
    }

    @Test("If a part only refers to content elsewhere, the original message is kept", arguments: ["external-body", "partial"])
    func references(_ subtype: String) {
        let bytes = Array(
            "From: c@x.test\r\nContent-Type: message/\(subtype); id=1; number=1; total=2\r\n\r\nSubject: x\r\n\r\n".utf8)
        #expect(MailMessage(bytes).original(of: bytes)?.name == "original.eml")
    }
}
