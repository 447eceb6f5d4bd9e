internal import CCurl
import Glibc

/// A signed-in connection to a mail server, made by libcurl: TLS or STARTTLS with a verified certificate, and SASL. The caller
/// then sends the commands of the protocol.
///
/// Every call blocks its thread, for ``timeout`` seconds at most.
package final class CurlConnection {
    private let handle: CurlHandle
    private var buffer: [UInt8] = []
    private var offset = 0
    /// The time limit of a response in seconds.
    package var timeout: Int

    /// Connects and signs in.
    ///
    /// - Throws: ``CurlError``, of the kinds ``CurlError/Kind/signInRefused``, ``CurlError/Kind/certificate`` and others.
    package init(to server: MailServer, timeout: Int) throws(CurlError) {
        handle = try CurlHandle()
        self.timeout = timeout
        server.prepare(handle)
        handle.set(CURLOPT_CONNECT_ONLY, 1)
        handle.set(CURLOPT_CONNECTTIMEOUT, timeout)
        // A connection that waits for mail must detect that the server no longer responds.
        handle.set(CURLOPT_TCP_KEEPALIVE, 1)
        _ = try handle.perform(limit: 1 << 20)
    }

    /// Sends all bytes.
    package func send(_ bytes: [UInt8]) throws(CurlError) {
        var sent = 0
        while sent < bytes.count {
            let (code, count) = bytes.withUnsafeBytes { handle.send(UnsafeRawBufferPointer(rebasing: $0[sent...])) }
            if code == CURLE_AGAIN { try wait(for: Int16(POLLOUT)) } else if code != CURLE_OK { throw CurlError(code) }
            sent += count
        }
    }

    /// Sends a line with CRLF.
    package func send(_ line: String) throws(CurlError) { try send(Array("\(line)\r\n".utf8)) }

    /// Reads a line and returns it without the line break.
    ///
    /// - Parameter limit: The longest line in bytes.
    package func line(limit: Int = 1 << 16) throws(CurlError) -> [UInt8] {
        var searched = offset
        while true {
            if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = buffer[offset..<end]
                offset = end + 1
                return line.last == UInt8(ascii: "\r") ? Array(line.dropLast()) : Array(line)
            }
            guard buffer.count - offset <= limit else { throw .tooLarge }
            let before = buffer.count - offset
            try fill()
            searched = offset + before
        }
    }

    /// Reads this number of bytes.
    package func bytes(_ count: Int) throws(CurlError) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        let arrived = min(count, buffer.count - offset)
        bytes.append(contentsOf: buffer[offset..<offset + arrived])
        offset += arrived
        // The remaining bytes are read directly, because the buffer would otherwise grow to the size of a large message.
        while bytes.count < count { try receive(into: &bytes, limit: count - bytes.count) }
        return bytes
    }

    /// The socket, for waiting with `poll`.
    package var descriptor: Int32 { handle.socket }

    /// The lines that have arrived. This function does not wait for more lines.
    ///
    /// - Parameter limit: The longest line in bytes.
    /// - Throws: ``CurlError``, also when the server closed the connection.
    package func arrivedLines(limit: Int = 1 << 16) throws(CurlError) -> [[UInt8]] {
        buffer.removeFirst(offset)
        offset = 0
        while buffer.count <= limit {
            let (code, count) = handle.receive(into: &buffer)
            if code == CURLE_AGAIN { break }
            guard code == CURLE_OK, count > 0 else { throw Self.closed(code) }
        }
        var lines: [[UInt8]] = []
        while let end = buffer[offset...].firstIndex(of: UInt8(ascii: "\n")) {
            let line = buffer[offset..<end]
            lines.append(line.last == UInt8(ascii: "\r") ? Array(line.dropLast()) : Array(line))
            offset = end + 1
        }
        guard buffer.count - offset <= limit else { throw .tooLarge }
        return lines
    }

    private static func closed(_ code: CURLcode) -> CurlError {
        code == CURLE_OK ? CurlError(code: CURLE_RECV_ERROR, reason: "the server closed the connection") : CurlError(code)
    }

    /// Waits until the server sends something.
    ///
    /// - Parameters:
    ///   - seconds: The time limit in seconds. If ``timeout`` is longer, ``timeout`` applies instead.
    ///   - interval: Seconds between two calls of `body` during the wait.
    package func wait(seconds: Int, every interval: Int, _ body: () -> Void) throws(CurlError) {
        let patience = timeout
        defer { timeout = patience }
        var left = max(seconds, patience)
        while buffer.count == offset {
            timeout = min(interval, left)
            left -= timeout
            do {
                try fill()
            } catch let error where error.code == CURLE_OPERATION_TIMEDOUT && left > 0 {
                body()
            }
        }
    }

    private func fill() throws(CurlError) {
        if offset > 0 {
            buffer.removeFirst(offset)
            offset = 0
        }
        try receive(into: &buffer, limit: 1 << 16)
    }

    /// Waits for more data, and reads it.
    private func receive(into bytes: inout [UInt8], limit: Int) throws(CurlError) {
        while true {
            let (code, count) = handle.receive(into: &bytes, limit: limit)
            if code == CURLE_OK, count > 0 { return }
            guard code == CURLE_AGAIN else { throw Self.closed(code) }
            try wait(for: Int16(POLLIN))
        }
    }

    private func wait(for events: Int16) throws(CurlError) {
        var descriptor = pollfd(fd: handle.socket, events: events, revents: 0)
        while true {
            let ready = poll(&descriptor, 1, Int32(timeout * 1_000))
            if ready > 0 { return }
            if ready < 0, errno == EINTR { continue }
            throw CurlError(code: CURLE_OPERATION_TIMEDOUT, reason: "the server did not answer within \(timeout) seconds")
        }
    }
}
