import Foundation
import Glibc
import Synchronization

/// Standard output. Everything that a command prints goes through this type, so that a command whose output can't be written
/// fails.
enum CommandOutput {
    /// Why output is missing or cut off.
    struct Failure: Error, CustomStringConvertible {
        let reason: String

        var description: String { "The output can't be written: \(reason). It is missing, or cut off." }
    }

    private static let failure = Mutex<Failure?>(nil)
    /// Whether the command's own error already says that the output failed.
    private static let isTold = Mutex(false)

    /// Opens `/dev/null` at the number of each standard descriptor that is closed. Otherwise a file or a connection to the database
    /// would get the number of standard output, and the output would be written there.
    static func occupyClosedDescriptors() {
        for descriptor in [STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO] where fcntl(descriptor, F_GETFD) == -1 {
            // `/dev/null` is opened for reading only, so that writing to it fails, as it does on a closed descriptor.
            let null = open("/dev/null", O_RDONLY)
            guard null >= 0, null != descriptor else { continue }
            dup2(null, descriptor)
            close(null)
        }
    }

    /// Prints a line. After the first failure nothing more is written, and the command fails at its end.
    static func line(_ text: String) {
        failure.withLock { failure in
            if failure == nil { failure = write(Array("\(text)\n".utf8)) }
        }
    }

    /// Prints a line that must not be lost.
    ///
    /// - Throws: ``Failure`` if any output until now was not written. Output to a file must have reached the disk.
    static func requiredLine(_ text: String) throws {
        failure.withLock { failure in
            if failure == nil { failure = write(Array("\(text)\n".utf8), isWaitingLimited: true) }
            // On a pipe or a terminal, `fsync` fails with one of these errors, because there is no disk.
            if failure == nil, fsync(STDOUT_FILENO) != 0, ![EINVAL, ENOTSUP, EROFS].contains(errno) { failure = Failure(errno) }
        }
        try requireWritten()
    }

    /// - Throws: ``Failure`` if any output until now was not written.
    static func requireWritten() throws {
        guard let failure = failure.withLock(\.self) else { return }
        isTold.withLock { $0 = true }
        throw failure
    }

    /// Ends the output.
    ///
    /// - Returns: Why the output is missing or cut off; nil if the output is complete, or if the command's own error already
    ///   reported the failure.
    static func end() -> Failure? {
        failure.withLock { failure in
            if let failure { return isTold.withLock(\.self) ? nil : failure }
            // Some file systems report a full disk only when the file is closed.
            return close(STDOUT_FILENO) == 0 || errno == EBADF ? nil : Failure(errno)
        }
    }

    /// The longest wait for a reader or a terminal that makes no progress, in milliseconds. The wait is limited, because a row may
    /// be locked while required output is written.
    private static let longestWait: Int32 = 15_000

    /// - Parameter isWaitingLimited: Whether to give up after ``longestWait`` without progress.
    private static func write(_ bytes: [UInt8], isWaitingLimited: Bool = false) -> Failure? {
        var rest = bytes[...]
        while !rest.isEmpty {
            var ready = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
            if isWaitingLimited, poll(&ready, 1, longestWait) == 0 { return Failure(ETIMEDOUT) }
            // A pipe that `poll` reports as ready accepts PIPE_BUF bytes without blocking (POSIX).
            let part = isWaitingLimited ? rest.prefix(Int(PIPE_BUF)) : rest
            let count = part.withUnsafeBytes { Glibc.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
            if count >= 0 {
                rest = rest.dropFirst(count)
            } else if errno == EAGAIN {
                poll(&ready, 1, -1)
            } else if errno != EINTR {
                return Failure(errno)
            }
        }
        return nil
    }
}

extension CommandOutput.Failure {
    fileprivate init(_ code: Int32) { reason = String(cString: strerror(code)) }
}
