import Testing

@testable import MailRouter

@Suite("Names of IMAP folders")
struct IMAPFolderNameTests {
    @Test(
        "A name becomes a quoted string in modified UTF-7",
        arguments: [
            ("Undeliverable", "\"Undeliverable\""), ("R&D", "\"R&-D\""), ("a \"b\" \\c", "\"a \\\"b\\\" \\\\c\""),
            // An example of RFC 3501, section 5.1.3.
            ("~peter/mail/台北/日本語", "\"~peter/mail/&U,BTFw-/&ZeVnLIqe-\""),
            ("Entwürfe", "\"Entw&APw-rfe\""), ("😀", "\"&2D3eAA-\""), ("", "\"\""),
            // A line break would end the command.
            ("a\r\nb", "\"a&AA0ACg-b\""),
        ])
    func quoted(_ name: String, _ quoted: String) {
        #expect(IMAPFolderName.quoted(name) == quoted)
    }

    @Test("The name INBOX is recognized in any case; the name of a folder in the inbox is not the inbox")
    func inbox() {
        #expect(IMAPFolderName.isInbox(" Inbox ") && IMAPFolderName.isInbox("INBOX"))
        #expect(!IMAPFolderName.isInbox("INBOX/Sales") && !IMAPFolderName.isInbox(""))
    }
}
