import Testing

@testable import Tenancy

/// Tests the limits on running and waiting tasks, for all keys together and for each key.
@Suite("The gate that limits running and waiting tasks")
struct AdmissionGateTests {
    typealias Limits = AdmissionGate<String>.Limits

    private enum Event { case began, refused, ended }

    /// A latch that makes tasks wait until it is opened.
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
        "Tasks beyond the limits are refused, and waiting tasks run later", .timeLimit(.minutes(1)),
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
        // After all tasks have ended, the gate has room for a new task.
        #expect((try? await gate.run("z") { true }) == true)
    }

    /// Adds tasks of each key in turn until the gate refuses them, and returns how many tasks of each key it accepted.
    private func filled(
        _ gate: AdmissionGate<String>, _ keys: [String], tasksOfEach: Int, until latch: Latch
    ) async -> [String: Int] {
        let (events, continuation) = AsyncStream<Event>.makeStream()
        var iterator = events.makeAsyncIterator()
        var taken: [String: Int] = [:]
        for key in keys {
            for _ in 0..<tasksOfEach {
                Task {
                    do {
                        try await gate.run(key) {
                            continuation.yield(.began)
                            await latch.wait()
                        }
                    } catch {
                        continuation.yield(.refused)
                    }
                }
                if await iterator.next() == .began { taken[key, default: 0] += 1 }
            }
        }
        return taken
    }

    @Test(
        "A few keys with many tasks leave room for a key without tasks, and a single key may reach its own limit",
        .timeLimit(.minutes(1)))
    func fewKeys() async {
        let gate = AdmissionGate<String>(.init(running: 64, runningPerKey: 8))
        let latch = Latch()
        let keys = (1...9).map { "network \($0)" }
        let taken = await filled(gate, keys, tasksOfEach: 8, until: latch)
        #expect(taken["network 1"] == 8 && taken.values.min() ?? 0 >= 1 && taken.values.reduce(0, +) <= 56)
        #expect((try? await gate.run("another") { true }) == true)
        // Only about as many keys as there are places can fill the gate.
        let others = (10...100).map { "network \($0)" }
        #expect(await filled(gate, others, tasksOfEach: 1, until: latch).count == 64 - taken.values.reduce(0, +))
        await #expect(throws: AdmissionGate<String>.Full.self) { try await gate.run("another") {} }
        await latch.open()
    }

    @Test("A task with a kept place can wait even if all other places are taken", .timeLimit(.minutes(1)))
    func keptPlaces() async throws {
        let gate = AdmissionGate<String>(.init(running: 1, runningPerKey: 1, waiting: 1, waitingPerKey: 1, waitingKept: 1))
        let latch = Latch()
        #expect(await filled(gate, ["a"], tasksOfEach: 1, until: latch) == ["a": 1])
        let (events, continuation) = AsyncStream<String>.makeStream()
        func ask(_ key: String, isKept: Bool) {
            Task {
                do {
                    try await gate.run(key, isKept: isKept) { continuation.yield("\(key) ran") }
                } catch {
                    continuation.yield("\(key) refused")
                }
            }
        }
        var iterator = events.makeAsyncIterator()
        // One of the two tasks waits, and the other one is refused.
        ask("b", isKept: false)
        ask("b", isKept: false)
        #expect(await iterator.next() == "b refused")
        // One task with a kept place waits in addition. A second task with a kept place is refused.
        ask("c", isKept: true)
        ask("c", isKept: true)
        #expect(await iterator.next() == "c refused")
        await latch.open()
        #expect(await iterator.next() == "b ran")
        #expect(await iterator.next() == "c ran")
    }
}
