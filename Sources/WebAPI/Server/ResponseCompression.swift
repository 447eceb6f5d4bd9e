import CZlib
import Dispatch
import Foundation
import HTTPTypes
import Model
import Synchronization

/// Compresses large responses that hold no secret, for clients that take gzip (RFC 9110 section 8.4.1.3).
///
/// The length of a compressed response tells something of what is in it. So keys, passwords, tokens and what stands beside them are
/// never compressed: no messages, no batches, and nothing of the console.
enum ResponseCompression {
    /// Bytes from which a response is compressed.
    private static let threshold = 8 << 10
    /// Bytes up to which that is done on the event loop.
    private static let blockingLimit = 64 << 10

    static func compressed(_ answer: APIAnswer, for headers: HTTPFields, at path: ODataPath) async -> APIAnswer {
        guard path.isCompressible, answer.status == .ok, answer.body.count >= threshold else { return answer }
        var answer = answer
        answer.headers.append(HTTPField(name: .vary, value: "Accept-Encoding"))
        guard takesGzip(headers[.acceptEncoding]) else { return answer }
        let body = answer.body
        let compressed = body.count <= blockingLimit ? gzip(body) : await compressedBeside(body)
        guard let compressed else { return answer }
        answer.body = compressed
        answer.headers[.contentEncoding] = "gzip"
        return answer
    }

    /// Compresses on a thread of its own.
    ///
    /// - Returns: Nil also where as many responses are being compressed as there are processors. More would wait, each with its body
    ///   in memory: the response goes out as it is instead.
    private static func compressedBeside(_ body: [UInt8]) async -> [UInt8]? {
        let isAdmitted = running.withLock { running in
            guard running < limit else { return false }
            running += 1
            return true
        }
        guard isAdmitted else { return nil }
        defer { running.withLock { $0 -= 1 } }
        return await withCheckedContinuation { continuation in
            queue.async { continuation.resume(returning: gzip(body)) }
        }
    }

    private static let limit = ProcessInfo.processInfo.activeProcessorCount
    private static let running = Mutex(0)
    private static let queue = DispatchQueue(label: "fieldseal.compression", attributes: .concurrent)

    static func takesGzip(_ header: String?) -> Bool {
        guard let header else { return false }
        for item in header.split(separator: ",") {
            let parts = item.split(separator: ";").map { $0.trimmed.lowercased() }
            guard let coding = parts.first, ["gzip", "x-gzip", "*"].contains(coding) else { continue }
            let quality = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            if coding != "*" || quality == 0 { return quality > 0 }
            return true
        }
        return false
    }

    private static func gzip(_ bytes: [UInt8]) -> [UInt8]? {
        let capacity = fieldseal_gzip_bound(bytes.count)
        let output = [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            count = fieldseal_gzip(bytes, bytes.count, buffer.baseAddress, capacity)
        }
        return output.isEmpty || output.count >= bytes.count ? nil : output
    }
}

extension ODataPath {
    /// Whether responses hold records, whose encrypted attributes are null, or what is the same for every caller.
    fileprivate var isCompressible: Bool {
        switch self {
        case .serviceRoot, .metadata, .description, .definitions, .entitySet, .entity: true
        case .navigation(let navigation): !navigation.isCount
        case .association(let path): !path.isCount
        default: false
        }
    }
}
