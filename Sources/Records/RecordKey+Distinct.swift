import Foundation
import JSON
package import Model

extension RecordKey {
    /// Refuses keys of several writes that name one record twice: which of its values should stay would be a guess.
    ///
    /// - Throws: ``FieldsealError`` `.payloadDoesNotFit` naming the record.
    package static func requireDistinct(_ keys: [RecordKey]) throws(FieldsealError) {
        var seen: Set<String> = []
        for key in keys {
            guard seen.insert(key.name).inserted else {
                throw FieldsealError(.payloadDoesNotFit, "Targets has the record \(key.name.quotedForMessage) twice. Name it once.")
            }
        }
    }

    /// The key as a text that is the same for the same key.
    private var name: String {
        switch self {
        case .id(let id): id.text
        case .alternate(let values): values.map { "\($0)=\($1)".lowercased() }.sorted().joined(separator: ",")
        }
    }
}
