internal import CCurl
import Foundation

/// One HTTPS request to an address that an administrator configured. The request follows no redirects, and is limited in time and
/// size.
package struct HTTPSRequest: Sendable {
    package var url: String
    package var method = "GET"
    package var headers: [String] = []
    package var body: [UInt8]?
    /// The path of a file with CA certificates in PEM, which are trusted instead of the system's CA certificates; nil to trust the
    /// system's.
    package var authorityFile: String?
    /// The time limit of the whole request in seconds.
    package var timeout = 10
    /// The longest response in bytes.
    package var limit = 1 << 20
    /// Called about once a second during the request. When it returns true, the request ends.
    package var isCancelled: (@Sendable () -> Bool)?

    package init(_ url: String) { self.url = url }

    /// A response of any status.
    package struct Answer: Sendable {
        package let status: Int
        package let headers: [UInt8]
        package let body: [UInt8]
    }

    /// Sends the request on a separate thread, with the task's trace.
    ///
    /// - Throws: ``CurlError``.
    package func send() async throws -> Answer {
        var request = self
        request.headers += OutgoingTrace.headers
        let traced = request
        return try await withCheckedThrowingContinuation { continuation in
            Thread.detachNewThread { continuation.resume(with: Result { try traced.perform(on: CurlHandle()) }) }
        }
    }

    /// Sends the request on a handle that keeps its connection. This function blocks the calling thread.
    package func perform(on handle: CurlHandle) throws(CurlError) -> Answer {
        handle.reset()
        handle.set(CURLOPT_URL, url)
        handle.set(CURLOPT_PROTOCOLS_STR, "https")
        // A single request at a time does not need HTTP/2's streams.
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
