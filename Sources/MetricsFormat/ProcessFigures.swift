import Foundation
import Glibc

/// The metrics of every program of this product: its version, and its use of the machine.
package struct ProcessFigures: Sendable {
    private let version: String
    private let startedOn = Date()

    package init(version: String) { self.version = version }

    /// Adds the metrics, with the names that Prometheus' own clients use.
    package func write(to text: inout MetricsText) {
        text.info("fieldseal_build", "The version of the program.", ["version": version])
        text.gauge(
            "process_start_time_seconds", "When the program was started, in seconds since 1970.",
            [.init([:], startedOn.timeIntervalSince1970)])
        var usage = rusage()
        if getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage) == 0 {
            let seconds =
                Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)
                / 1e6
            text.counter("process_cpu_seconds", "Processor time that the program used, in seconds.", [.init([:], seconds)])
        }
        if let pages = Self.residentPages {
            text.gauge(
                "process_resident_memory_bytes", "Resident memory of the program, in bytes.",
                [.init([:], Double(pages * sysconf(Int32(_SC_PAGESIZE))))])
        }
        if let files = try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count {
            text.gauge("process_open_fds", "Open files and connections of the program.", [.init([:], Double(files))])
        }
    }

    private static var residentPages: Int? {
        (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ").dropFirst().first.flatMap {
            Int($0)
        }
    }
}
