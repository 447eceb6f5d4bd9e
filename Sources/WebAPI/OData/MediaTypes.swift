import Authentication
import Foundation
import HTTPTypes
import JSON
import Model

/// The media types that a client accepts and sends (RFC 9110 section 12.5.1).
enum MediaTypes {
    /// The amount of metadata in a JSON response (OData JSON Format 4.0, section 3.1).
    enum Metadata {
        case minimal, none
    }

    /// The form of JSON that `Accept` requests.
    ///
    /// - Throws: ``UnsupportedForm`` if `Accept` allows no form that the service supports.
    static func metadata(accepting header: String?) throws -> Metadata {
        guard let header, !header.isEmpty, header != "application/json", header != "*/*" else { return .minimal }
        var best: (quality: Double, metadata: Metadata)?
        for range in header.split(separator: ",") {
            let parts = range.split(separator: ";").map { String($0.trimmed) }
            guard let type = parts.first?.lowercased(), ["*/*", "application/*", "application/json"].contains(type),
                let (quality, metadata) = parameters(parts.dropFirst())
            else { continue }
            if quality > best?.quality ?? 0 { best = (quality, metadata) }
        }
        guard let best else { throw UnsupportedForm.response }
        return best.metadata
    }

    /// - Throws: ``UnsupportedForm`` if `Accept` does not allow XML in UTF-8, the form of `$metadata`.
    static func requireXML(_ accepting: String?) throws {
        guard let accepting, !accepting.isEmpty else { return }
        let isAccepted = accepting.split(separator: ",").contains { range in
            let parts = range.split(separator: ";").map { String($0.trimmed) }
            guard let type = parts.first?.lowercased(), ["*/*", "application/*", "application/xml"].contains(type) else {
                return false
            }
            return parameters(parts.dropFirst()).map { $0.quality > 0 } ?? false
        }
        guard isAccepted else { throw UnsupportedForm.document }
    }

    /// - Returns: Nil for parameters that request an unsupported form.
    private static func parameters(_ parameters: ArraySlice<String>) -> (quality: Double, metadata: Metadata)? {
        var (quality, metadata) = (1.0, Metadata.minimal)
        for parameter in parameters {
            let pair = parameter.split(separator: "=", maxSplits: 1).map { $0.trimmed.lowercased() }
            guard pair.count == 2 else { continue }
            switch (pair[0], pair[1].filter { $0 != "\"" }) {
            case ("q", let value): quality = Double(value) ?? 1
            case ("odata.metadata", "minimal"), ("metadata", "minimal"): metadata = .minimal
            case ("odata.metadata", "none"), ("metadata", "none"): metadata = .none
            case ("odata.metadata", _), ("metadata", _): return nil
            case ("ieee754compatible", "true"), ("exponentialdecimals", "true"): return nil
            case ("charset", let value) where value != "utf-8": return nil
            default: continue
            }
        }
        return (quality, metadata)
    }

    /// - Throws: ``UnsupportedForm`` for a body whose declared type is not JSON in UTF-8.
    static func requireJSON(_ contentType: String?) throws {
        guard let contentType, !contentType.isEmpty else { return }
        let parts = contentType.split(separator: ";").map { String($0.trimmed) }
        guard let type = parts.first?.lowercased(), type == "application/json" || type.hasSuffix("+json"),
            parameters(parts.dropFirst()) != nil
        else { throw UnsupportedForm.body }
    }
}
