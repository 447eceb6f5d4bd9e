import Foundation
import HTTPTypes
import JSON
import Model

/// A request in a batch, as the client wrote it.
struct BatchItem {
    var method: String
    var url: String
    var headers: HTTPFields
    var body: [UInt8]
    /// The id of the item. Its response has the same id, and URLs and bodies of later items may refer to it as `$ID`.
    var id: String?
    /// The `atomicityGroup` of a request in JSON.
    var group: String?
    /// The ids of earlier requests, and the names of earlier groups, that must succeed before this request runs.
    var dependsOn: [String] = []
}
