import CZlib
import Dispatch
import Foundation
import HTTPTypes
import Model
import Synchronization

/// Compresses large responses that contain no secret, for clients that accept gzip (RFC 9110 section 8.4.1.3).
///
/// The length of a compressed response depends on its contents and may reveal them. So responses that may hold keys, passwords or
/// tokens are never compressed: responses of operations, of batches and of the console.
enum ResponseCompression {
    /// The smallest response in bytes that is compressed.
    private static let threshold = 8 << 10
    /// The largest response in bytes that is compressed on the event loop.
    private static let blockingLimit = 64 << 10

    static func compressed(_ answer: APIResponse, for headers: HTTPFields, at path: ODataPath) async -> APIResponse {
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

    /// Compresses on a separate thread.
    ///
    /// - Returns: Nil if compression does not make the body shorter, or as many responses are being compressed as there are
    ///   processors. Waiting responses would hold their bodies in memory, so the response is sent uncompressed.
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
    /// Whether responses contain only records, whose encrypted attributes are null, or the same data for every caller.
    fileprivate var isCompressible: Bool {
        switch self {
        case .serviceRoot, .metadata, .description, .definitions, .entitySet, .entity: true
        case .navigation(let navigation): !navigation.isCount
        case .association(let path): !path.isCount
        default: false
        }
    }
}
