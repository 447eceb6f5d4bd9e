import Foundation
import JSON
package import Model

extension RecordKey {
    /// Refuses two keys of one record among several writes, because it is unclear which values should be stored in the end.
    ///
    /// - Throws: ``FieldsealError`` `.payloadDoesNotFit` naming the record.
    package static func requireDistinct(_ keys: [RecordKey]) throws(FieldsealError) {
        var seen: Set<String> = []
        for key in keys {
            guard seen.insert(key.name).inserted else { throw repeated(key.text) }
        }
    }

    /// The refusal of a record that two keys name.
    static func repeated(_ key: String) -> FieldsealError {
        FieldsealError(.payloadDoesNotFit, "Targets has the record \(key.quotedForMessage) twice. Name it once.")
    }

    /// A text that is equal for equal keys.
    private var name: String {
        switch self {
        case .id(let id): id.text
        case .alternate(let values): values.map { "\($0)=\($1)".lowercased() }.sorted().joined(separator: ",")
        }
    }
}
