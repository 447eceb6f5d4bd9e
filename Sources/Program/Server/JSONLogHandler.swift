import Foundation
import Glibc
import JSON
import Logging

/// Writes each log event as one line of JSON to standard error.
struct JSONLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level = .info
    private let label: String
    /// Metadata that is written as numbers, so that it can be compared.
    private static let numbers: Set = [
        "status", "milliseconds", "bytes", "port", "pid", "workers", "worker", "sampling", "fetched", "delivered", "refused",
        "sent", "failed",
        "seconds", "uid",
    ]

    private static func isNumber(_ text: String) -> Bool {
        text.utf8.allSatisfy { (0x30...0x39).contains($0) || $0 == UInt8(ascii: ".") } && Double(text) != nil
            && text.utf8.first != UInt8(ascii: ".") && text.utf8.last != UInt8(ascii: ".")
    }

    init(label: String) {
        self.label = label
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var line: [UInt8] = []
        line.reserveCapacity(512)
        func member(_ name: String, _ value: String) {
            line.append(UInt8(ascii: line.isEmpty ? "{" : ","))
            JSONValue.write(name, to: &line)
            line.append(UInt8(ascii: ":"))
            JSONValue.write(value, to: &line)
        }
        let milliseconds = Int(Date().timeIntervalSince1970 * 1_000)
        let seconds = ISO8601.text(Date(timeIntervalSince1970: Double(milliseconds / 1_000)))
        func number(_ name: String, _ value: String) {
            line.append(UInt8(ascii: ","))
            JSONValue.write(name, to: &line)
            line.append(UInt8(ascii: ":"))
            line.append(contentsOf: value.utf8)
        }
        member("time", "\(seconds.dropLast()).\(String(1_000 + milliseconds % 1_000).dropFirst())Z")
        member("level", event.level.rawValue)
        member("message", "\(event.message)")
        // The event's own metadata replace the logger's.
        let own = event.metadata ?? [:]
        var all = Array(own)
        for (key, value) in metadata where own[key] == nil { all.append((key, value)) }
        all.sort { $0.key < $1.key }
        for (key, value) in all {
            let text = if case .string(let text) = value { text } else { "\(value)" }
            if Self.numbers.contains(key), Self.isNumber(text) { number(key, text) } else { member(key, text) }
        }
        line.append(contentsOf: "}\n".utf8)
        // One write call, so that lines of different threads don't mix.
        _ = line.withUnsafeBytes { write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }
}
