import Foundation
import Testing

@testable import MailRouter

@Suite("The list of work for a router's workers")
struct WorkBoardTests {
    private func mailbox(_ work: WorkBoard.Work?) -> String? {
        if case .mailbox(let id)? = work { id } else { nil }
    }

    @Test("Each mailbox is given to one worker, in the order in which the mailboxes were added")
    func order() {
        let board = WorkBoard()
        board.add("one")
        board.add("two")
        board.add("one")
        #expect(mailbox(board.next()) == "one")
        #expect(mailbox(board.next()) == "two")
        board.stop()
        #expect(board.next() == nil)
    }

    @Test("A mailbox that is not due yet does not delay mailboxes after it")
    func notBefore() {
        let board = WorkBoard()
        board.add("later", after: 3_600)
        board.add("now")
        #expect(mailbox(board.next()) == "now")
        board.add("later")
        board.stop()
        // The mailbox is still in the list, and was not added a second time.
        #expect(board.next() == nil)
    }

    @Test("Only workers that wait get a permit to ask the service, and the board waits for their results")
    func permits() {
        let board = WorkBoard()
        board.offer(5)
        #expect(!board.waitForWorker(seconds: 0))
        #expect(!board.waitForDecision(seconds: 0))
        let worker = Thread {
            while let work = board.next() {
                if case .any = work { board.decide(true) }
            }
        }
        worker.start()
        #expect(board.waitForWorker(seconds: 60))
        board.offer(5)
        #expect(board.waitForDecision(seconds: 60))
        board.stop()
    }
}
