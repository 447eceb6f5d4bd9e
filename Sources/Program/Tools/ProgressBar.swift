import Foundation
import Glibc
import KeyManagement
import Synchronization

/// Shows the progress of long work on standard error: a bar on a terminal, otherwise one line for each phase.
final class ProgressBar: Sendable {
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let lastPhase = Mutex<KeyChangeProgress.Phase?>(nil)

    /// Draws the progress. May be called from any thread.
    func show(_ progress: KeyChangeProgress) {
        if isTerminal {
            write("\r\u{1B}[K\(progress.percent.map(Self.bar) ?? "")\(Self.text(progress))")
        } else {
            let isNew = lastPhase.withLock { last in
                defer { last = progress.phase }
                return last != progress.phase
            }
            if isNew { write("\(Self.text(progress))\n") }
        }
    }

    /// Draws the progress of a verification. Without a terminal nothing is printed, because the report follows.
    func show(cells: Int, of total: Int?) {
        guard isTerminal else { return }
        let percent = total.map { $0 > 0 ? min(cells * 100 / $0, 100) : 0 }
        write("\r\u{1B}[K\(percent.map(Self.bar) ?? "")\(cells) cells")
    }

    private static func bar(_ percent: Int) -> String {
        let filled = percent * 30 / 100
        return "[\(String(repeating: "#", count: filled))\(String(repeating: ".", count: 30 - filled))] \(percent) %  "
    }

    /// Clears the line for the next output.
    func end() {
        if isTerminal { write("\r\u{1B}[K") }
    }

    /// The progress as text, for example `copying: 210000 cells, 300000 a second, 2 s left`.
    private static func text(_ progress: KeyChangeProgress) -> String {
        var text = progress.phase.rawValue
        guard progress.cells > 0 else { return text }
        text += ": \(progress.cells) cells, \(Int(progress.rate)) a second"
        if let left = progress.secondsLeft, progress.phase == .copying { text += ", \(Int(left.rounded(.up))) s left" }
        return text
    }

    private func write(_ text: String) { FileHandle.standardError.write(Data(text.utf8)) }
}
