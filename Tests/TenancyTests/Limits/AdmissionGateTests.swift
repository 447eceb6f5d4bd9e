import Testing

@testable import Tenancy

/// The limits on running and waiting tasks, for all keys together and for each key.
@Suite("The gate before work that is slow on purpose")
struct AdmissionGateTests {
    typealias Limits = AdmissionGate<String>.Limits

    private enum Event { case began, refused, ended }

    /// Makes tasks wait until it is opened.
    private actor Latch {
        private var isOpen = false
        private var held: [CheckedContinuation<Void, Never>] = []

        func wait() async {
            if !isOpen { await withCheckedContinuation { held.append($0) } }
        }

        func open() {
            isOpen = true
            for task in held { task.resume() }
            held = []
        }
    }

    @Test(
        "Beyond a limit tasks are refused, and those that wait run later", .timeLimit(.minutes(1)),
        arguments: [
            (Limits(running: 2, runningPerKey: 2), ["a", "b"], ["c"], 1),
            (Limits(running: 2, runningPerKey: 1), ["a"], ["a"], 1),
            (Limits(running: 1, runningPerKey: 1, waiting: 1, waitingPerKey: 1), ["a"], ["b", "c", "d"], 2),
            (Limits(running: 1, runningPerKey: 1, waiting: 9, waitingPerKey: 2), ["a"], ["b", "b", "b", "b", "c"], 2),
        ])
    func limits(_ limits: Limits, _ running: [String], _ asking: [String], _ refused: Int) async {
        let gate = AdmissionGate<String>(limits)
        let latch = Latch()
        let (events, continuation) = AsyncStream<Event>.makeStream()
        func ask(_ key: String) {
            Task {
                do {
                    try await gate.run(key) {
                        continuation.yield(.began)
                        await latch.wait()
                    }
                    continuation.yield(.ended)
                } catch {
                    continuation.yield(.refused)
                }
            }
        }
        var iterator = events.makeAsyncIterator()
        for key in running { ask(key) }
        for _ in running { #expect(await iterator.next() == .began) }
        for key in asking { ask(key) }
        for _ in 0..<refused { #expect(await iterator.next() == .refused) }
        await latch.open()
        var later: [Event] = []
        for _ in 0..<(running.count + 2 * (asking.count - refused)) {
            if let event = await iterator.next() { later.append(event) }
        }
        #expect(later.count { $0 == .began } == asking.count - refused && !later.contains(.refused))
        // The gate counts no task any more.
        #expect((try? await gate.run("z") { true }) == true)
    }
}
