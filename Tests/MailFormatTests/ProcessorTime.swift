import Foundation

/// Processor time of the calling thread. Unlike the time of a clock, it does not grow while other programs use the processor.
struct ProcessorTime {
    private let began = seconds

    /// The processor time since the value was made.
    var elapsed: Double { Self.seconds - began }

    private static var seconds: Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
