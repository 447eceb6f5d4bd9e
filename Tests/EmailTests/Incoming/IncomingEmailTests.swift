import Foundation
import Testing

@testable import Email

@Suite("Incoming e-mails")
struct IncomingEmailTests {
    private func email(_ change: (inout IncomingEmail) -> Void = { _ in }) -> IncomingEmail {
        var email = IncomingEmail()
        (email.messageID, email.from, email.subject, email.body) = ("<1@a>", .init("a@b.example"), "Hello", "text")
        email.digest = [1, 2, 3]
        change(&email)
        return email
    }

    @Test(
        "A tracking token is `CRM:` and 4 to 20 digits, anywhere in the subject",
        arguments: [
            ("Offer CRM:0000012", "CRM:0000012"), ("CRM:1234", "CRM:1234"), ("RE: CRM:123 CRM:4567 x", "CRM:4567"),
            ("CRM:123456789012345678901", "CRM:12345678901234567890"), ("CRM:123", nil), ("crm:1234", nil), ("CRM:", nil),
            ("", nil),
            ("CRM:12a4", nil),
        ] as [(String, String?)])
    func trackingToken(subject: String, token: String?) {
        #expect(email { $0.subject = subject }.trackingToken == token)
    }

    @Test("The record's id depends only on organization, mailbox and the message's digest, not on how it was parsed")
    func recordID() {
        let (organization, mailbox) = (UUID(), UUID())
        let id = email().recordID(organization: organization, mailbox: mailbox)
        #expect(id == email { $0.subject = "another" }.recordID(organization: organization, mailbox: mailbox))
        #expect(id != email { $0.digest = [1, 2] }.recordID(organization: organization, mailbox: mailbox))
        #expect(id != email().recordID(organization: organization, mailbox: organization))
        #expect(id != email().recordID(organization: mailbox, mailbox: mailbox))
        #expect(id.uuid.6 >> 4 == 8 && id.uuid.8 >> 6 == 2, "UUIDv8")
    }

    @Test("The digest over an e-mail's values changes with each value, and if text moves from one value to the next")
    func wordsDigest() {
        let digest = email().wordsDigest
        #expect(digest.count == 32 && digest == email().wordsDigest)
        let others = [
            email { ($0.from, $0.subject) = (.init("a@b.exampleH"), "ello") }, email { $0.to = [.init("x")] },
            email { $0.cc = [.init("x")] }, email { $0.bcc = [.init("x")] }, email { $0.to = [.init("x", "X")] },
            email { $0.replyTo = ["x"] }, email { $0.inReplyTo = ["x"] }, email { $0.references = ["x"] },
            email { $0.importance = 2 }, email { $0.bodyType = "text/html" }, email { $0.submittedBy = "x" },
            email { $0.receivedOn = Date() }, email { $0.attachments = [.init(name: "", type: nil, body: "", size: 0)] },
            email { $0.attachments = [.init(name: "", type: nil, body: "", size: 0, subject: "x")] },
            email { $0.attachments = [.init(name: "", type: nil, body: "", size: 0, contentID: "x")] },
        ]
        #expect(Set(others.map(\.wordsDigest) + [digest]).count == others.count + 1)
    }

    @Test("The digest of earlier versions ignores the kinds of recipients and the importance")
    func earlierWordsDigest() {
        let digest = email { $0.cc = [.init("x")] }.earlierWordsDigest(messageID: "<1@a>")
        #expect(digest == email { ($0.bcc, $0.importance) = ([.init("x", "X")], 2) }.earlierWordsDigest(messageID: "<1@a>"))
        // SHA-256 of "5 <1@a>11 a@b.example5 Hello0 4 text1 x". The ids of records are derived from this digest.
        let known = "84fa99e63c7edf307169b78e067b9d52ccbad0a7f4f23bc094692c9437bead02"
        #expect(digest.map { String(format: "%02x", $0) }.joined() == known)
    }

    @Test("The Message-IDs that an e-mail may answer are compared in lower case, and only the first hundred are used")
    func answeredIDs() {
        let email = email { $0.inReplyTo = ["<A@B>"] + (0..<200).map { "<\($0)>" } }
        #expect(email.answeredIDs.first == "<a@b>" && email.answeredIDs.count == 100)
    }
}
