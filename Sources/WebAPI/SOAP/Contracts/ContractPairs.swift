import Foundation
import JSON
import Model
import Records

/// A dictionary of a data contract: `KeyValuePairOf…` elements with `key` and `value`.
enum ContractPairs {
    /// - Throws: ``FieldsealError`` for a malformed pair, and for a key that occurs twice.
    static func read(_ element: XMLElement?, _ what: String) throws(FieldsealError) -> [(key: String, value: XMLElement)] {
        var pairs: [(key: String, value: XMLElement)] = []
        var seen: Set<String> = []
        for child in element?.children ?? XMLChildren.empty {
            let members = child.children.map(\.self)
            guard child.local.hasPrefix("KeyValuePairOf"), members.count == 2, let key = child.first("key"),
                let value = child.first("value"), !key.isNil
            else {
                throw FieldsealError(.payloadDoesNotFit, "\(what) takes pairs of a key and a value.")
            }
            guard seen.insert(key.text.lowercased()).inserted else {
                throw FieldsealError(.payloadDoesNotFit, "\(what) has \(key.text.quotedForFault) twice.")
            }
            pairs.append((key.text, value))
        }
        return pairs
    }
}
