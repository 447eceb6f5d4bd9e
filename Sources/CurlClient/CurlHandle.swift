internal import CCurl

/// One easy handle of libcurl: a connection to one server that is kept between transfers.
///
/// Every call blocks its thread. One thread at a time may use a handle, and handles share no data.
package final class CurlHandle {
    private let handle: UnsafeMutableRawPointer
    private var lists: [UnsafeMutablePointer<curl_slist>?] = []
    private let errorBuffer: UnsafeMutablePointer<CChar>

    private static let start: CURLcode = curl_start()

    /// - Throws: ``CurlError`` when there is no memory for a handle.
    package init() throws(CurlError) {
        guard Self.start == CURLE_OK, let handle = curl_easy_init() else {
            throw CurlError(code: CURLE_FAILED_INIT, reason: "libcurl can't be started")
        }
        self.handle = handle
        errorBuffer = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorBuffer.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        prepare()
    }

    deinit {
        curl_easy_cleanup(handle)
        for list in lists { curl_slist_free_all(list) }
        errorBuffer.deallocate()
    }

    /// Resets all options. The connection stays open.
    func reset() {
        curl_easy_reset(handle)
        for list in lists { curl_slist_free_all(list) }
        lists = []
        prepare()
    }

    private func prepare() {
        // libcurl must not use signals for timeouts, because this program has many threads.
        set(CURLOPT_NOSIGNAL, 1)
        curl_set_pointer(handle, CURLOPT_ERRORBUFFER, errorBuffer)
    }

    /// Sets an option to a number. For a switch, 1 is on and 0 is off.
    func set(_ option: CURLoption, _ value: Int) { curl_set_long(handle, option, value) }
    /// Sets an option to a text, which libcurl copies.
    func set(_ option: CURLoption, _ value: String) { curl_set_string(handle, option, value) }

    /// Sets an option to the bytes before the terminating zero, which libcurl copies. The caller has to wipe the original.
    func set(_ option: CURLoption, bytes: UnsafeRawBufferPointer) {
        curl_set_string(handle, option, bytes.baseAddress?.assumingMemoryBound(to: CChar.self))
    }

    /// Sets an option to a list of lines, such as request headers or recipients.
    func set(_ option: CURLoption, _ lines: [String]) {
        let list = lines.reduce(nil as UnsafeMutablePointer<curl_slist>?) { curl_slist_append($0, $1) }
        lists.append(list)
        curl_set_list(handle, option, list)
    }

    /// The code of a response: an HTTP status, or an SMTP reply code.
    var responseCode: Int {
        var code = 0
        curl_get_long(handle, CURLINFO_RESPONSE_CODE, &code)
        return code
    }

    /// The socket of a handle that only connects (`CURLOPT_CONNECT_ONLY`), for a caller that sends and receives itself.
    var socket: Int32 {
        var socket: curl_socket_t = -1
        curl_get_socket(handle, &socket)
        return socket
    }

    func send(_ bytes: UnsafeRawBufferPointer) -> (CURLcode, Int) {
        var count = 0
        return (curl_easy_send(handle, bytes.baseAddress, bytes.count, &count), count)
    }

    /// - Parameter limit: How many bytes are received at most.
    func receive(into buffer: inout [UInt8], limit: Int = 1 << 16) -> (CURLcode, Int) {
        withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 1) { bytes in
            var count = 0
            let code = curl_easy_recv(handle, bytes.baseAddress, min(limit, bytes.count), &count)
            buffer.append(contentsOf: bytes[..<count])
            return (code, count)
        }
    }

    /// Runs the transfer.
    ///
    /// - Parameters:
    ///   - body: The bytes to upload.
    ///   - limit: How many bytes of the body, and of the headers, are received at most.
    ///   - isCancelled: Called about once a second. When it returns true, the transfer ends.
    /// - Returns: The body, and the header lines. For a mail server these are its responses outside of literals.
    /// - Throws: ``CurlError``.
    func perform(
        sending body: [UInt8]? = nil, limit: Int, isCancelled: (@Sendable () -> Bool)? = nil
    ) throws(CurlError) -> (body: [UInt8], headers: [UInt8]) {
        let received = Received(limit: limit)
        let headers = Received(limit: limit)
        let sent = body.map(Sent.init)
        let cancellation = isCancelled.map(Cancellation.init)
        errorBuffer[0] = 0
        let code = withExtendedLifetime((received, headers, sent, cancellation)) {
            curl_set_transfer(handle, CURLOPT_WRITEFUNCTION, takeBytes)
            curl_set_pointer(handle, CURLOPT_WRITEDATA, Unmanaged.passUnretained(received).toOpaque())
            curl_set_transfer(handle, CURLOPT_HEADERFUNCTION, takeBytes)
            curl_set_pointer(handle, CURLOPT_HEADERDATA, Unmanaged.passUnretained(headers).toOpaque())
            if let sent {
                curl_set_transfer(handle, CURLOPT_READFUNCTION, giveBytes)
                curl_set_pointer(handle, CURLOPT_READDATA, Unmanaged.passUnretained(sent).toOpaque())
                curl_set_size(handle, CURLOPT_INFILESIZE_LARGE, curl_off_t(sent.bytes.count))
            }
            if let cancellation {
                curl_set_progress(handle, isTransferCancelled)
                curl_set_pointer(handle, CURLOPT_XFERINFODATA, Unmanaged.passUnretained(cancellation).toOpaque())
                set(CURLOPT_NOPROGRESS, 0)
            }
            return curl_easy_perform(handle)
        }
        guard !received.isFull, !headers.isFull else { throw .tooLarge }
        guard code == CURLE_OK else {
            let detail = String(cString: errorBuffer)
            throw CurlError(
                code: code, reason: detail.isEmpty ? String(cString: curl_easy_strerror(code)) : detail,
                isTemporary: SignInRefusal.isTemporary(headers.bytes))
        }
        return (received.bytes, headers.bytes)
    }
}

private final class Received {
    var bytes: [UInt8] = []
    var isFull = false
    let limit: Int

    init(limit: Int) { self.limit = limit }
}

private final class Cancellation {
    let isCancelled: @Sendable () -> Bool

    init(_ isCancelled: @escaping @Sendable () -> Bool) { self.isCancelled = isCancelled }
}

/// - Returns: 0 to continue the transfer, 1 to cancel it.
private func isTransferCancelled(
    _ context: UnsafeMutableRawPointer?, _: curl_off_t, _: curl_off_t, _: curl_off_t, _: curl_off_t
) -> Int32 {
    guard let context else { return 0 }
    return Unmanaged<Cancellation>.fromOpaque(context).takeUnretainedValue().isCancelled() ? 1 : 0
}

private final class Sent {
    let bytes: [UInt8]
    var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }
}

private func takeBytes(_ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?) -> Int
{
    guard let bytes, let context else { return 0 }
    let received = Unmanaged<Received>.fromOpaque(context).takeUnretainedValue()
    guard received.bytes.count + size * count <= received.limit else {
        received.isFull = true
        return 0
    }
    received.bytes.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: size * count))
    return size * count
}

private func giveBytes(_ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ context: UnsafeMutableRawPointer?) -> Int
{
    guard let bytes, let context else { return 0 }
    let sent = Unmanaged<Sent>.fromOpaque(context).takeUnretainedValue()
    let length = min(size * count, sent.bytes.count - sent.offset)
    sent.bytes.withUnsafeBytes { source in
        UnsafeMutableRawBufferPointer(start: bytes, count: length)
            .copyMemory(from: UnsafeRawBufferPointer(rebasing: source[sent.offset..<sent.offset + length]))
    }
    sent.offset += length
    return length
}
