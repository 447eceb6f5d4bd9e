import CellCrypto
import Foundation
import Synchronization
import Tenancy

/// Checks the files of the key-encryption key: whether other users could replace the file, and whether the copy is equal. The
/// program checks the file's mode at every start.
///
/// The copy may be on a file system that hangs. So a separate thread reads the files, and a caller waits for it no longer than
/// ``patience``.
final class KeyFileCheck: Sendable {
    let file: String?
    private let copy: String?
    private let keyIDs: [String]
    private let reads = SingleFlight<String, [Finding]>()
    private static let patience = Duration.seconds(3)

    /// - Parameter keyIDs: The ids of the key-encryption keys in use.
    init(file: String?, copy: String?, keyIDs: [String]) {
        self.file = file
        self.copy = copy
        self.keyIDs = keyIDs
    }

    func findings() async throws -> [Finding] {
        guard let looked = copy ?? file else { return [] }
        let box = FirstResult<[Finding]>()
        Task { [self] in
            let result: Result<[Finding], any Error>
            do {
                result = .success(try await reads.value(of: looked) { try await BlockingWork.run { try self.read() } } ?? [])
            } catch {
                result = .failure(error)
            }
            box.finish(result)
        }
        let timer = Task {
            try await Task.sleep(for: Self.patience)
            box.finish(
                .success([
                    Finding(
                        .error, "kek-files-hang", "\(looked) can't be read: its file system does not answer",
                        advice: "check the file system of \(looked)")
                ]))
        }
        defer { timer.cancel() }
        return try await box.value()
    }

    private func read() throws -> [Finding] {
        var findings: [Finding] = []
        if let file {
            let folder = URL(fileURLWithPath: file).deletingLastPathComponent().path
            let mode = try FileManager.default.attributesOfItem(atPath: folder)[.posixPermissions] as? Int ?? 0
            // In a folder with the sticky bit, users can't replace other users' files.
            if mode & 0o022 != 0, mode & 0o1000 == 0 {
                findings.append(
                    Finding(
                        .error, "kek-folder-writable", "others may write to \(folder), and so replace the key-encryption key",
                        advice: "chmod go-w \(folder)"))
            }
        }
        guard let copy else { return findings }
        do {
            if try !keyIDs.contains(KeyEncryptionKeyFile.read(copy).id) {
                findings.append(
                    Finding(
                        .error, "kek-copy-differs", "\(copy) is another key-encryption key than the one in use",
                        advice: "copy the key-encryption key that opens the keys of this deployment"))
            } else if let file, try Self.device(copy) == Self.device(file) {
                findings.append(
                    Finding(
                        .warning, "kek-copy-nearby", "\(copy) is on the same file system as the key-encryption key itself",
                        advice: "keep the copy on another file system, which survives the loss of the original"))
            }
        } catch let problem as KeyEncryptionKeyFile.Problem {
            findings.append(Finding(.error, "kek-copy-unusable", "\(problem)", advice: "copy the key-encryption key again"))
        }
        return findings
    }

    private static func device(_ path: String) throws -> Int? {
        let target = URL(filePath: path).resolvingSymlinksInPath().path
        return try FileManager.default.attributesOfItem(atPath: target)[.systemNumber] as? Int
    }
}

/// Gives the first of several results to one waiting task.
private final class FirstResult<Value: Sendable>: Sendable {
    private struct State {
        var result: Result<Value, any Error>?
        var continuation: CheckedContinuation<Value, any Error>?
    }

    private let state = Mutex(State())

    func finish(_ result: Result<Value, any Error>) {
        let continuation = state.withLock { state -> CheckedContinuation<Value, any Error>? in
            guard state.result == nil else { return nil }
            state.result = result
            defer { state.continuation = nil }
            return state.continuation
        }
        continuation?.resume(with: result)
    }

    func value() async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            let result = state.withLock { state -> Result<Value, any Error>? in
                if state.result == nil { state.continuation = continuation }
                return state.result
            }
            if let result { continuation.resume(with: result) }
        }
    }
}
