import HTTPTypes
import Logging

/// The trace of a request (W3C Trace Context). Each log line of the request has the trace's ids.
struct TraceContext {
    let traceID: String
    /// The caller's span of the trace.
    let parentID: String
    /// This request's own span.
    let spanID = Self.digits(of: UInt64.random(in: 1...UInt64.max))
    /// Whether the caller may have recorded its span.
    private let isSampled: Bool
    /// The request's `tracestate`, unchanged: what other systems added to the trace.
    private let state: String?

    /// The longest `tracestate` that is passed on.
    private static let longestState = 512

    /// - Returns: Nil if the header is missing or malformed. Section 3.2.2.3 requires a server to ignore a malformed header.
    init?(_ headers: HTTPFields) {
        guard headers.contains(.traceparent) else { return nil }
        let fields = headers[values: .traceparent]
        guard fields.count == 1 else { return nil }
        let parts = fields[0].split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count >= 4, Self.isHexadecimal(parts[0], 2), parts[0] != "ff", Self.isHexadecimal(parts[1], 32),
            Self.isHexadecimal(parts[2], 16), Self.isHexadecimal(parts[3], 2), parts.count == 4 || parts[0] != "00",
            parts[1].contains(where: { $0 != "0" }), parts[2].contains(where: { $0 != "0" })
        else { return nil }
        (traceID, parentID) = (String(parts[1]), String(parts[2]))
        isSampled = (UInt8(parts[3], radix: 16) ?? 0) & 1 == 1
        let state = headers[values: .tracestate].joined(separator: ",")
        let isPlain = state.utf8.allSatisfy { (0x20...0x7E).contains($0) || $0 == 0x09 }
        self.state = state.isEmpty || state.utf8.count > Self.longestState || !isPlain ? nil : state
    }

    /// The header lines of requests that this request causes to other services. The span of this request is the parent of the
    /// outgoing requests.
    var outgoing: [String] {
        ["traceparent: 00-\(traceID)-\(spanID)-\(isSampled ? "01" : "00")"] + (state.map { ["tracestate: \($0)"] } ?? [])
    }

    private static func isHexadecimal(_ text: Substring, _ count: Int) -> Bool {
        text.utf8.count == count && text.utf8.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
    }

    private static func digits(of number: UInt64) -> String {
        let text = String(number, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }

    /// Adds the trace to each line of a logger.
    func add(to logger: inout Logger) {
        logger[metadataKey: "trace_id"] = .string(traceID)
        logger[metadataKey: "parent_id"] = .string(parentID)
        logger[metadataKey: "span_id"] = .string(spanID)
    }
}

extension HTTPField.Name {
    static let traceparent = HTTPField.Name(known: "traceparent")
    static let tracestate = HTTPField.Name(known: "tracestate")
}
