import Testing

@testable import KeyManagement

@Suite("The steps of a key change")
struct KeyChangeStepsTests {
    private typealias Step = KeyChangeSteps.Step

    /// Runs all steps of a key change, and returns the steps in order. `outcome` returns the outcome of each step.
    private func walk(
        patience: Duration = .seconds(10),
        isRehearsal: Bool = false,
        _ outcome: (KeyChangeSteps.Step, Int) -> (KeyChangeSteps.Outcome, Duration)
    ) throws -> [KeyChangeSteps.Step] {
        var steps = KeyChangeSteps(patience: patience, isRehearsal: isRehearsal)
        var walked = [steps.first]
        while let step = walked.last, step != .conclude {
            let (outcome, waited) = outcome(step, walked.count)
            walked.append(try steps.next(after: outcome, waited: waited))
        }
        return walked
    }

    @Test("If no lock has to be waited for and no cell was written, each step runs once, in order")
    func straight() throws {
        let walked = try walk { step, _ in (step == .catchUp ? .caughtUp(0) : .done, .zero) }
        #expect(
            walked == [.announce(pause: .zero), .backfill, .buildKeys, .catchUp, .switchOver(pause: .zero), .conclude])
    }

    @Test("A rehearsal runs every step except the switch")
    func rehearsal() throws {
        let walked = try walk(isRehearsal: true) { step, _ in (step == .catchUp ? .caughtUp(3) : .done, .zero) }
        #expect(walked == [.announce(pause: .zero), .backfill, .buildKeys, .catchUp, .conclude])
    }

    @Test("Catch-ups are repeated until one copies few records", arguments: [65, 1_000, 10_000])
    func rounds(length: Int) throws {
        var left = [length, length, KeyChangeSteps.shortRound]
        let walked = try walk { step, _ in (step == .catchUp ? .caughtUp(left.removeFirst()) : .done, .zero) }
        #expect(walked.filter { $0 == .catchUp }.count == 3)
    }

    @Test("After each failed attempt to switch, a catch-up runs, and the pause doubles up to one second")
    func heldUpAtTheSwitch() throws {
        var attempts = 0
        let walked = try walk { step, _ in
            guard case .switchOver = step else { return (step == .catchUp ? .caughtUp(1) : .done, .zero) }
            attempts += 1
            return (attempts <= 8 ? .heldUp : .done, .milliseconds(20))
        }
        let pauses = walked.compactMap { step -> Duration? in if case .switchOver(let pause) = step { pause } else { nil } }
        #expect(pauses == [0, 20, 40, 80, 160, 320, 640, 1_000, 1_000].map { .milliseconds($0) })
        for (step, before) in zip(walked.dropFirst(), walked) where step != .conclude {
            if case .switchOver = step { #expect(before == .catchUp) }
        }
    }

    @Test(
        "The change gives up if a lock is not granted in time; announcement and switch each have the whole time limit",
        arguments: [true, false])
    func patience(atAnnouncement: Bool) throws {
        var total = Duration.zero
        #expect(throws: KeyChangeSteps.Failure.heldUp) {
            try walk(patience: .seconds(5)) { step, _ in
                switch step {
                case .announce(let pause) where atAnnouncement, .switchOver(let pause) where !atAnnouncement:
                    total += pause + .milliseconds(50)
                    return (.heldUp, .milliseconds(50))
                case .catchUp: return (.caughtUp(0), .zero)
                default: return (.done, .seconds(100))
                }
            }
        }
        #expect(total > .seconds(3) && total <= .seconds(5))
    }

    @Test("A change gives up if writers are always faster than its catch-ups")
    func outrun() {
        #expect(throws: KeyChangeSteps.Failure.outrun) {
            try walk { step, _ in (step == .catchUp ? .caughtUp(10_000) : .done, .zero) }
        }
    }
}
