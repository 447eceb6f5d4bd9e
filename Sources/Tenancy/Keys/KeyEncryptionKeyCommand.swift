package import CellCrypto
import Foundation
import Glibc

/// A command that prints the key-encryption key. The command gets the key from Vault, a cloud's key service, a token, clevis or
/// age.
///
/// The command runs once, when this program starts, without a shell. The command has this program's environment and standard error.
package enum KeyEncryptionKeyCommand {
    /// The reason for which there is no key.
    package enum Problem: Error, Sendable, CustomStringConvertible {
        case notStarted(String, reason: String)
        case failed(String, status: Int32)
        case late(String, seconds: Int)
        case malformed(String)

        package var description: String {
            switch self {
            case .notStarted(let program, let reason): "\(program), which prints the key-encryption key, can't be run: \(reason)"
            case .failed(let program, let status):
                "\(program), which prints the key-encryption key, ended with "
                    + (status & 0x7f == 0 ? "the status \(status >> 8 & 0xff)" : "signal \(status & 0x7f)")
                    + "; its own message is on standard error"
            case .late(let program, let seconds):
                "\(program), which prints the key-encryption key, did not end within \(seconds) seconds and was ended"
            case .malformed(let program):
                "\(program) did not print a key-encryption key: 64 bytes in base64, as `fieldseal kek create` writes them"
            }
        }
    }

    /// Seconds that the program may run.
    package static let limitSeconds = 30
    /// The output is rejected if it has this many bytes or more.
    private static let outputLimit = 256

    /// Runs the program.
    ///
    /// - Parameter command: The program's absolute path, and its arguments.
    /// - Throws: ``Problem``.
    package static func run(_ command: [String], limit: Int = limitSeconds) throws -> KeyEncryptionKey {
        let (process, output) = try start(command)
        defer { close(output) }
        var text = [UInt8](repeating: 0, count: outputLimit)
        defer { text.withUnsafeMutableBytes { secureWipe($0) } }
        let deadline = ContinuousClock.now + .seconds(limit)
        let length = read(from: output, into: &text, until: deadline)
        if let length, length == text.count {
            end(process)
            throw Problem.malformed(command[0])
        }
        guard let length, let status = wait(for: process, until: deadline) else {
            end(process)
            throw Problem.late(command[0], seconds: limit)
        }
        guard status == 0 else { throw Problem.failed(command[0], status: status) }
        return try KeyEncryptionKey(
            SecretBytes(count: KeyEncryptionKey.length) { key throws(any Error) in
                guard length > 0, KeyEncryptionKeyFile.decode(text[..<length], into: key) else {
                    throw Problem.malformed(command[0])
                }
            })
    }

    /// Ends the program's whole process group.
    private static func end(_ process: pid_t) {
        kill(-process, SIGKILL)
        var status: Int32 = 0
        waitpid(process, &status, 0)
    }

    /// Starts the program in its own process group, with empty standard input.
    private static func start(_ command: [String]) throws -> (process: pid_t, output: Int32) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0, ends.allSatisfy({ fcntl($0, F_SETFD, FD_CLOEXEC) == 0 }) else {
            throw Problem.notStarted(command[0], reason: String(cString: strerror(errno)))
        }
        defer { close(ends[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF))
        posix_spawnattr_setpgroup(&attributes, 0)
        // Signals that this program ignores get their default effect in the child.
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGPIPE, SIGHUP, SIGUSR1, SIGUSR2] { sigaddset(&signals, number) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        let arguments: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] = []
        for (name, value) in ProcessInfo.processInfo.environment { environment.append(strdup("\(name)=\(value)")) }
        environment.append(nil)
        defer { for text in arguments + environment { free(text) } }
        var process: pid_t = 0
        let result = posix_spawn(&process, command[0], &actions, &attributes, arguments, environment)
        guard result == 0 else {
            close(ends[0])
            throw Problem.notStarted(command[0], reason: String(cString: strerror(result)))
        }
        return (process, ends[0])
    }

    /// Reads until the output ends, or the buffer is full.
    ///
    /// - Returns: Nil if the output does not end in time.
    private static func read(from output: Int32, into text: inout [UInt8], until deadline: ContinuousClock.Instant) -> Int? {
        var count = 0
        while count < text.count {
            let left = Int32((deadline - .now) / .milliseconds(1))
            var waiting = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            guard left > 0 else { return nil }
            guard poll(&waiting, 1, left) != 0 else { return nil }
            let length = text.withUnsafeMutableBytes { buffer in
                let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[count...])
                return Glibc.read(output, rest.baseAddress, rest.count)
            }
            if length < 0, errno == EINTR { continue }
            guard length > 0 else { break }
            count += length
        }
        return count
    }

    /// The exit status of the program; nil if it does not end in time.
    private static func wait(for process: pid_t, until deadline: ContinuousClock.Instant) -> Int32? {
        var status: Int32 = 0
        while waitpid(process, &status, WNOHANG) == 0 {
            guard .now < deadline else { return nil }
            usleep(pollMicroseconds)
        }
        return status
    }

    private static let pollMicroseconds: UInt32 = 10_000
}
