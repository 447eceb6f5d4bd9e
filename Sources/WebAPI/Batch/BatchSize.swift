import HTTPTypes
import Model
import Records

/// Limits the size of a batch's responses, which the service keeps in memory until the last of them is complete.
struct BatchSize {
    /// How many records all responses have at most.
    static let recordLimit = 50_000
    /// How many bytes all responses have at most.
    static let byteLimit = 128 << 20

    /// From this number of bytes on, another thread assembles the batch's response.
    private static let largeLength = 256 << 10

    var isLarge: Bool { bytes > Self.largeLength }

    private var records = 0
    private var bytes = 0

    /// Counts the response to a request of the batch.
    ///
    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` naming the exceeded limit. A write is never refused because of the size of
    ///   its response.
    mutating func add(_ answer: APIResponse, to request: APIRequest, _ unread: UnreadResponses.Share?) throws(FieldsealError) {
        if request.method == .get {
            guard records + answer.records <= Self.recordLimit else {
                throw FieldsealError(
                    .queryDoesNotFit,
                    "The responses of a batch hold more than \(Self.recordLimit) records. Send fewer queries at once, or ask for smaller pages."
                )
            }
            guard bytes + answer.body.count <= Self.byteLimit else {
                throw FieldsealError(
                    .queryDoesNotFit,
                    "The responses of a batch have more than \(Self.byteLimit >> 20) MiB. Send fewer queries at once, or select fewer attributes."
                )
            }
            try unread?.hold(bytes + answer.body.count)
        }
        unread?.holdAlways(bytes + answer.body.count)
        records += answer.records
        bytes += answer.body.count
    }
}

extension APIResponse {
    /// A copy of the response that also holds how many records the page has. They count toward the batch's limit.
    func holding(_ page: RecordPage) -> APIResponse {
        var answer = self
        answer.records = page.recordCount
        return answer
    }
}
