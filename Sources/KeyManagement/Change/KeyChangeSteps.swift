/// The order of a key change's steps: returns the next step for the outcome of the last one. It uses no database and no clock, so
/// tests can take every path through it. `docs/key-change.md` explains the protocol.
struct KeyChangeSteps: Sendable {
    /// A step of a key change.
    enum Step: Sendable, Equatable {
        /// Announce the change: every later write of a cell leaves a note. First wait for `pause`.
        case announce(pause: Duration)
        /// Copy every cell, encrypted again, into a new generation.
        case backfill
        /// Build the new generation's primary keys.
        case buildKeys
        /// Copy the cells of the notes again.
        case catchUp
        /// Lock the tables against writers, catch up once more, and make the new generation the current one. First wait for
        /// `pause`.
        case switchOver(pause: Duration)
        /// Only the commit is left. In a rehearsal the switch was left out, and the transaction is rolled back.
        case conclude
    }

    /// The outcome of a step.
    enum Outcome: Sendable, Equatable {
        case done
        /// A catch-up copied this number of records again.
        case caughtUp(Int)
        /// The lock that keeps writers out was not granted in time.
        case heldUp
    }

    /// The reason for which a change gives up.
    enum Failure: Error, Equatable {
        /// Other sessions held the lock until the time limit.
        case heldUp
        /// Writers were faster than the catch-ups.
        case outrun
    }

    /// A catch-up of at most this number of records is short enough to be repeated while writers wait.
    static let shortRound = 64
    /// A key change gives up after this many catch-ups, in total, that were longer than ``shortRound``.
    static let longRounds = 10_000
    /// The pauses between two attempts to lock: the first one, and the longest one.
    static let pauses = (first: Duration.milliseconds(20), last: Duration.seconds(1))

    /// How long attempts to lock are repeated, separately for the announcement and for the switch.
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

    /// The step after the current one.
    ///
    /// - Parameter waited: How long an attempt waited for a lock that was not granted.
    mutating func next(after outcome: Outcome, waited duration: Duration = .zero) throws(Failure) -> Step {
        step = try following(outcome, duration)
        return step
    }

    private mutating func following(_ outcome: Outcome, _ duration: Duration) throws(Failure) -> Step {
        switch (step, outcome) {
        case (.announce, .heldUp): return .announce(pause: try longerPause(duration))
        case (.announce, _):
            (waited, pause) = (.zero, .zero)
            return .backfill
        case (.backfill, _): return .buildKeys
        case (.buildKeys, _): return .catchUp
        case (.catchUp, .caughtUp(let records)) where records > Self.shortRound:
            rounds += 1
            guard rounds < Self.longRounds else { throw .outrun }
            return .catchUp
        case (.catchUp, _): return isRehearsal ? .conclude : .switchOver(pause: pause)
        case (.switchOver, .heldUp):
            // Before the next attempt, cells that were written meanwhile are copied. So when the lock is granted, little is left
            // to copy under it.
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
