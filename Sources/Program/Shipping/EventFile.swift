import Foundation
import Glibc
import JSON
import Tenancy

/// Appends security events to a file as lines of JSON. The file is opened for each batch, so it can be moved at any time.
struct EventFile: EventReceiver {
    let path: String

    var name: String { path }

    func send(_ batch: EventShipment.Batch) async throws {
        let lines = batch.objects.flatMap { $0.utf8 + [UInt8(ascii: "\n")] }
        // A file system may be slow, and a thread of Swift's concurrency pool must not wait for it.
        try await BlockingWork.run { try append(lines) }
    }

    private func append(_ bytes: [UInt8]) throws {
        let descriptor = Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw problem("can't be opened") }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { throw problem("can't be written") }
            rest = rest.dropFirst(count)
        }
        // A pipe or a terminal can't be synchronized to a disk.
        guard fsync(descriptor) == 0 || errno == EINVAL || errno == EROFS else { throw problem("can't be written to the disk") }
    }

    private func problem(_ what: String) -> ReceiverProblem {
        ReceiverProblem("\(path) \(what): \(String(cString: strerror(errno)))")
    }
}
