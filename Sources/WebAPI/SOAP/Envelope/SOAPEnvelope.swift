import Foundation
import Model

/// Writes SOAP envelopes.
enum SOAPEnvelope {
    /// - Parameter action: The action in the WS-Addressing headers; nil for an envelope without these headers.
    static func write(
        _ version: SOAPVersion, action: String?, relatesTo: String?, _ body: (inout ContractWriter) throws -> Void
    ) rethrows -> [UInt8] {
        var writer = ContractWriter()
        writer.write("<s:Envelope xmlns:s=\"\(version.namespace)\"")
        if let action {
            writer.write(
                " xmlns:a=\"http://www.w3.org/2005/08/addressing\"><s:Header><a:Action s:mustUnderstand=\"1\">\(action)</a:Action>")
            if let relatesTo { writer.write("<a:RelatesTo>\(relatesTo.xmlEscaped)</a:RelatesTo>") }
            writer.write("</s:Header>")
        } else {
            writer.write(">")
        }
        writer.write("<s:Body>")
        try body(&writer)
        writer.write("</s:Body></s:Envelope>")
        return writer.output
    }
}
