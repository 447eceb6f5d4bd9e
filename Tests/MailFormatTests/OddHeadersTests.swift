import Foundation
import MailFormat
import Testing

/// Header fields in common forms that no standard allows, and fields with people for whom a record has no attribute.
@Suite("Header fields that no standard allows")
struct OddHeadersTests {
    private static func read(_ header: String) -> MailMessage { MailMessage(Array("\(header)\r\nSubject: s\r\n\r\nHello.".utf8)) }

    @Test(
        "Addresses in malformed From and To fields are found",
        arguments: [
            ("\"Jo\" &lt;jo@x.test&gt;", "jo@x.test"), ("&lt;jo@x.test&gt;", "jo@x.test"), ("&LT;jo@x.test&GT;", "jo@x.test"),
            ("&#60;jo@x.test&#62;", "jo@x.test"), ("Jo jo@x.test>", "jo@x.test"), ("jo@x.test>", "jo@x.test"),
            ("Jo <jo@x.test", "jo@x.test"), ("(jo@x.test)", "jo@x.test"), ("Jo (jo@x.test)", "jo@x.test"),
            ("jo@x\u{3002}test", "jo@x.test"), ("Jo <jo@x\u{FF0E}test>", "jo@x.test"), ("jo@x\u{FF61}test", "jo@x.test"),
            // Forms that earlier versions of the program already understood.
            ("jo@x.test (a@b.test)", "jo@x.test"), ("a > b <jo@x.test>", "jo@x.test"), ("\"a &lt; b\" <jo@x.test>", "jo@x.test"),
            ("R&D <jo@x.test>", "jo@x.test"), ("r&d@x.test", "r&d@x.test"), ("a>b@x.test", "a>b@x.test"),
            ("MAILER-DAEMON (Mail Delivery System)", "MAILER-DAEMON"),
        ])
    func addresses(written: String, meant: String) {
        #expect(Self.read("From: \(written)").from == meant)
        guard meant.contains("@"), !meant.contains(">") else { return }
        #expect(Self.read("From: c@x.test\r\nTo: \(written), b@x.test").to == [meant, "b@x.test"])
    }

    @Test(
        "Dates in ISO 8601 are parsed",
        arguments: [
            ("2026-11-26T10:00:00Z", "2026-11-26T10:00:00Z"), ("2026-11-26T10:00:00+02:00", "2026-11-26T08:00:00Z"),
            ("2026-11-26 10:00:00.123 -0130", "2026-11-26T11:30:00Z"), ("2026-11-26T10:00", "2026-11-26T10:00:00Z"),
            ("Thu, 26 Nov 2026 10:00:00 +0100", "2026-11-26T09:00:00Z"), ("26-Nov-2026 10:00:00 +0000", "2026-11-26T10:00:00Z"),
        ])
    func dates(written: String, meant: String) {
        let message = Self.read("From: c@x.test\r\nDate: \(written)")
        #expect(message.date?.ISO8601Format() == meant && message.notes.isEmpty)
    }

    @Test(
        "Dates in the forms that other programs write, with all kinds of time zones, are parsed",
        arguments: [
            ("Thu, 26 Nov 2026 10:00:00 -0500", "2026-11-26T15:00:00Z"), ("26 Nov 2026 10:00 -0330", "2026-11-26T13:30:00Z"),
            ("Thu, 26 Nov 2026 10:00:00-0500", "2026-11-26T15:00:00Z"), ("26-Nov-2026 10:00:00 -05:00", "2026-11-26T15:00:00Z"),
            ("Thu, 26 Nov 2026 10:00:00 GMT-5", "2026-11-26T15:00:00Z"), ("Thu, 26 Nov 2026 10:00:00 +02", "2026-11-26T08:00:00Z"),
            ("Thu Nov 26 10:00:00 CET 2026", "2026-11-26T09:00:00Z"), ("Thu Nov 26 10:00:00 2026", "2026-11-26T10:00:00Z"),
            ("November 26, 2026 12:05:00 AM +0000", "2026-11-26T00:05:00Z"),
            ("November 26, 2026 12:05 PM", "2026-11-26T12:05:00Z"),
            ("Thu, 26 Nov 2026 10.15.30 +0100", "2026-11-26T09:15:30Z"),
            ("mar, 24 nov 2026 10:00:00 -0800 (PST)", "2026-11-24T18:00:00Z"), ("26 Nov 26 10:00 X", "2026-11-26T10:00:00Z"),
            ("26 Nov 99 10:00 +0000", "1999-11-26T10:00:00Z"), ("26 Nov 126 10:00 +0000", "2026-11-26T10:00:00Z"),
            ("Thu, 31 Dec 2026 23:59:60 +0000", "2027-01-01T00:00:00Z"),
            ("Thu, 26 Nov 2026 24:00:00 -0000", "2026-11-27T00:00:00Z"),
            ("=?utf-8?Q?Thu=2C_26_Nov_2026_10:00:00_-0100?=", "2026-11-26T11:00:00Z"),
        ])
    func zones(written: String, meant: String) {
        let message = Self.read("From: c@x.test\r\nDate: \(written)")
        #expect(message.date?.ISO8601Format() == meant && message.notes.isEmpty)
    }

    @Test(
        "If the Date field can't be read, the date is that of the newest Received field, or else nil",
        arguments: [
            "yesterday", "2026-13-26T10:00:00Z", "2026-11-26", "31 Feb 2026 10:00 +0000", "26 Nov 0000 10:00 +0000",
            "11/06/2026 10:00:00 AM", "26 Nov 2026 25:00 +0000", "26 Nov 2026 24:01 +0000", "2026-02-30T10:00:00Z",
        ])
    func unreadable(written: String) {
        let message = Self.read("From: c@x.test\r\nDate: \(written)")
        #expect(message.date == nil && message.notes.map(\.isOfHeader) == [true])
        let delivered = Self.read(
            "Received: from a by b; Thu, 26 Nov 2026 10:00:00 +0000\r\nReceived: from c by a; Wed, 25 Nov 2026 10:00:00 +0000\r\nFrom: c@x.test\r\nDate: \(written)"
        )
        #expect(delivered.date?.ISO8601Format() == "2026-11-26T10:00:00Z")
    }

    @Test(
        "If no attribute of the record can name a person, a note names the person, and the header is kept",
        arguments: [
            ("From: noreply@shop.test\r\nReply-To: Real Customer <real@x.test>", ["real@x.test"]),
            ("From: a@x.test, b@x.test", ["b@x.test"]), ("From: a@x.test\r\nSender: b@x.test", ["b@x.test"]),
            ("From: a@x.test\r\nBcc: b@x.test, c@x.test", ["b@x.test, c@x.test"]),
            ("From: a@x.test\r\nSender: s@x.test\r\nReply-To: r@x.test", ["s@x.test", "r@x.test"]),
        ])
    func others(header: String, names: [String]) throws {
        let message = Self.read(header)
        #expect(message.notes.count == names.count && message.notes.allSatisfy(\.isOfHeader))
        for (note, name) in zip(message.notes, names) { #expect(note.text.contains(name)) }
        let kept = try #require(message.original(of: Array("\(header)\r\nSubject: s\r\n\r\nHello.".utf8)))
        #expect(kept.name == "original-header.txt")
    }

    @Test("The addresses of Reply-To are read; a Reply-To without an address is empty")
    func answers() {
        #expect(
            Self.read("From: noreply@shop.test\r\nReply-To: Real <real@x.test>, b@x.test").replyTo == ["real@x.test", "b@x.test"])
        #expect(Self.read("From: a@x.test").replyTo == [] && Self.read("From: a@x.test\r\nReply-To: nobody").replyTo == [])
    }

    @Test(
        "A field that only repeats people of other fields causes no note",
        arguments: [
            "From: a@x.test\r\nReply-To: A@X.test", "From: a@x.test\r\nSender: Jo <a@x.test>", "From: Jo\r\nReply-To: a@x.test",
            "From: a@x.test\r\nTo: b@x.test\r\nReply-To: a@x.test, b@x.test", "From: a@x.test\r\nBcc: undisclosed-recipients:;",
        ])
    func same(header: String) { #expect(Self.read(header).notes.isEmpty) }
}
