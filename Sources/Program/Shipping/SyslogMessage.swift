import Foundation
import JSON
import Tenancy

/// A security event as a message of syslog (RFC 5424), in a frame that begins with its length (RFC 5425 section 4.3).
enum SyslogMessage {
    /// The facility "log audit" (RFC 5424 section 6.2.1).
    private static let facility = 13
    private static let longestID = 32

    /// The frames of a batch.
    static func frames(of batch: EventShipment.Batch) -> [UInt8] {
        zip(batch.events, batch.objects).flatMap { event, object -> [UInt8] in
            let message = Array(header(of: event, in: batch).utf8) + object.utf8
            return Array("\(message.count) ".utf8) + message
        }
    }

    private static func header(of event: RecordedEvent, in batch: EventShipment.Batch) -> String {
        let id = event.kind.replacing(" ", with: "-").prefix(longestID)
        let data = [("organization", batch.organization.name), ("number", "\(event.id)"), ("outcome", event.outcome)]
            .map { " \($0)=\"\(escaped($1))\"" }.joined()
        return "<\(facility * 8 + severity(of: event))>1 \(ISO8601.text(event.occurredOn)) \(host) fieldseal \(getpid()) \(id) "
            + "[event@32473\(data)] "
    }

    private static func severity(of event: RecordedEvent) -> Int {
        switch event.outcome {
        case "failed": 3
        case "refused": 4
        default: 6
        }
    }

    /// Escapes the value of a parameter (RFC 5424 section 6.3.3).
    private static func escaped(_ text: String) -> String {
        text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("]", with: "\\]")
    }

    private static let host = ProcessInfo.processInfo.hostName.filter { $0.isASCII && !$0.isWhitespace }
}
