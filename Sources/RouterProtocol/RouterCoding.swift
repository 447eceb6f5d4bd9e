package import Foundation

/// The coding of messages between the service and its routers: JSON whose names begin with a capital, as in Dataverse.
package enum RouterCoding {
    package static var encoder: JSONEncoder {
        let encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .custom { path in Key(path) { $0.uppercased() } }
        return encoder
    }

    package static var decoder: JSONDecoder {
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .custom { path in Key(path) { $0.lowercased() } }
        return decoder
    }

    private struct Key: CodingKey {
        let stringValue: String
        let intValue: Int?

        init(_ path: [any CodingKey], first: (Substring) -> String) {
            let name = path.last?.stringValue ?? ""
            // The list in an OData response is named `value`, in lower case.
            stringValue = name == "value" ? name : first(name.prefix(1)) + name.dropFirst()
            intValue = path.last?.intValue
        }

        init?(stringValue: String) { (self.stringValue, intValue) = (stringValue, nil) }
        init?(intValue: Int) { (stringValue, self.intValue) = ("\(intValue)", intValue) }
    }
}
