/// The order of a key change's steps: what comes next, given how the last step ended. It knows no database and no clock, so
/// that every path through it can be tested (`docs/key-change.md` explains the protocol).
struct KeyChangeSteps: Sendable {
    /// One thing to do.
    enum Step: Sendable, Equatable {
        /// Have every later write of a cell noted, after waiting for `pause`.
        case announce(pause: Duration)
        /// Copy every cell, sealed anew, into a new generation.
        case refill
        /// Build the new generation's primary keys.
        case buildKeys
        /// Copy again what was noted.
        case catchUp
        /// Lock writers out, catch up for the last time, and make the new generation the current one, after `pause`.
        case switchOver(pause: Duration)
        /// All is done but the commit; a rehearsal rolls back here.
        case conclude
    }

    /// How a step ended.
    enum Outcome: Sendable, Equatable {
        case done
        /// A catch-up copied so many records again.
        case caughtUp(Int)
        /// The writers' lock was not granted in time.
        case heldUp
    }

    /// Why a change gives up.
    enum Failure: Error, Equatable {
        /// Another session held the writers' lock until the time limit.
        case heldUp
        /// Writers wrote faster than they could be caught up with.
        case outrun
    }

    /// A catch-up of at most so many records is short enough to be done once more while writers wait.
    static let shortRound = 64
    /// Catch-ups in a row that may be longer than ``shortRound``.
    static let longRounds = 10_000
    /// Between two attempts to lock.
    static let pauses = (first: Duration.milliseconds(20), last: Duration.seconds(1))

    /// How long attempts to lock go on, for each of the two locks.
    let patience: Duration
    let isRehearsal: Bool
    private var step = Step.announce(pause: .zero)
    private var waited = Duration.zero
    private var pause = Duration.zero
    private var rounds = 0

    init(patience: Duration, isRehearsal: Bool) {
        self.patience = patience
        self.isRehearsal = isRehearsal
    }

    /// The first step.
    var first: Step { step }

    /// The step after this one.
    ///
    /// - Parameter waited: What the attempt itself took, where it was held up.
    mutating func next(after outcome: Outcome, waited duration: Duration = .zero) throws(Failure) -> Step {
        step = try following(outcome, duration)
        return step
    }

    private mutating func following(_ outcome: Outcome, _ duration: Duration) throws(Failure) -> Step {
        switch (step, outcome) {
        case (.announce, .heldUp): return .announce(pause: try longerPause(duration))
        case (.announce, _):
            (waited, pause) = (.zero, .zero)
            return .refill
        case (.refill, _): return .buildKeys
        case (.buildKeys, _): return .catchUp
        case (.catchUp, .caughtUp(let records)) where records > Self.shortRound:
            rounds += 1
            guard rounds < Self.longRounds else { throw .outrun }
            return .catchUp
        case (.catchUp, _): return isRehearsal ? .conclude : .switchOver(pause: pause)
        case (.switchOver, .heldUp):
            // What is written meanwhile is caught up with first, so that the lock is never held for long.
            pause = try longerPause(duration)
            return .catchUp
        case (.switchOver, _), (.conclude, _): return .conclude
        }
    }

    private mutating func longerPause(_ duration: Duration) throws(Failure) -> Duration {
        let longer = min(max(pause * 2, Self.pauses.first), Self.pauses.last)
        waited += duration + longer
        guard waited <= patience else { throw .heldUp }
        pause = longer
        return longer
    }
}
