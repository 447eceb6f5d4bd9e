import HTTPTypes

/// The two versions of SOAP that the Organization service supports.
enum SOAPVersion: Sendable {
    case v11, v12

    /// The namespace of the envelope.
    var namespace: String {
        switch self {
        case .v11: "http://schemas.xmlsoap.org/soap/envelope/"
        case .v12: "http://www.w3.org/2003/05/soap-envelope"
        }
    }

    var contentType: String {
        switch self {
        case .v11: "text/xml; charset=utf-8"
        case .v12: "application/soap+xml; charset=utf-8"
        }
    }

    /// The version that a content type names; nil for another type.
    init?(contentType: String) {
        switch contentType.prefix(while: { $0 != ";" }).trimmed.lowercased() {
        case "text/xml": self = .v11
        case "application/soap+xml": self = .v12
        default: return nil
        }
    }

    init?(namespace: String) {
        switch namespace {
        case Self.v11.namespace: self = .v11
        case Self.v12.namespace: self = .v12
        default: return nil
        }
    }
}
