import RouterProtocol
import Testing

@testable import MailRouter

@Suite("Notes about single messages for the service")
struct MessageNotesTests {
    private let lease = MailboxLease(
        mailboxId: "m", name: "", address: "", isForward: false, work: .receiving, serverType: 1,
        deletesAfterProcessing: false, processesReceivedAfter: nil, timeout: 60, routerState: nil, undeliverableFolder: nil,
        attachmentLimit: 0, setAside: nil, revision: "")

    @Test("Many inspected messages are sent in several requests, and all other notes in the first request")
    func requests() {
        var notes = MessageNotes()
        #expect(notes.isEmpty)
        notes.seen = (0...MailboxNotes.limit).map { "\($0)" }
        notes.settled = ["s"]
        notes.forgetsSeen = true
        notes.setAside = [(uid: "9", name: "Broken", messageID: nil, reason: String(repeating: "x", count: 900))]
        #expect(!notes.isEmpty)
        let requests = notes.requests(lease, "host")
        #expect(requests.map { $0.seen?.count } == [MailboxNotes.limit, 1])
        #expect(requests.flatMap { $0.seen ?? [] } == notes.seen)
        #expect(requests.map(\.forgetsSeen) == [true, nil] && requests.map(\.settled) == [["s"], nil])
        #expect(requests[0].setAside?.map(\.uid) == ["9"] && requests[0].setAside?[0].reason?.count == 500)
        #expect(requests.allSatisfy { $0.mailboxId == "m" && $0.hostId == "host" })
    }

    @Test("Without inspected messages, one request has all notes")
    func one() {
        var notes = MessageNotes()
        notes.settled = ["s"]
        #expect(notes.requests(lease, "host").map(\.settled) == [["s"]])
    }
}
