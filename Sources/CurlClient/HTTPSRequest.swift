import CCurl
import Foundation

/// One request over HTTPS: to an address that an administrator configured, without redirects, within time and size limits.
public struct HTTPSRequest: Sendable {
    public var url: String
    public var method = "GET"
    public var headers: [String] = []
    public var body: [UInt8]?
    /// PEM certificates of the authorities that are trusted besides none; nil for the system's.
    public var authorityFile: String?
    /// Seconds for the whole of it.
    public var timeout = 10
    /// Bytes of an answer at most.
    public var limit = 1 << 20
    /// Asked about once a second while the request is on its way; true ends it.
    public var isCancelled: (@Sendable () -> Bool)?

    public init(_ url: String) { self.url = url }

    /// A response of any status.
    public struct Answer: Sendable {
        public let status: Int
        public let headers: [UInt8]
        public let body: [UInt8]
    }

    /// Sends it on a thread of its own.
    ///
    /// - Throws: ``CurlError``.
    public func send() async throws -> Answer {
        try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try perform(on: CurlHandle()) }) }
        }
    }

    /// Sends it on a handle that keeps its connection, and blocks.
    public func perform(on handle: CurlHandle) throws(CurlError) -> Answer {
        handle.reset()
        handle.set(CURLOPT_URL, url)
        handle.set(CURLOPT_PROTOCOLS_STR, "https")
        // One request at a time gains nothing by streams.
        handle.set(CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1)
        handle.set(CURLOPT_CUSTOMREQUEST, method)
        handle.set(CURLOPT_CONNECTTIMEOUT, 5)
        handle.set(CURLOPT_TIMEOUT, timeout)
        if let authorityFile { handle.set(CURLOPT_CAINFO, authorityFile) }
        // `Expect: 100-continue` would cost a round trip.
        handle.set(CURLOPT_HTTPHEADER, headers + ["Expect:"])
        if body != nil { handle.set(CURLOPT_UPLOAD, 1) }
        let answer = try handle.perform(sending: body, limit: limit, isCancelled: isCancelled)
        return Answer(status: handle.responseCode, headers: answer.headers, body: answer.body)
    }
}
