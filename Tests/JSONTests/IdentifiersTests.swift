import Foundation
import Testing

@testable import JSON

@Suite("Ids that are ordered by time")
struct IdentifiersTests {
    @Test("Ids that are made together are ascending and all different, even if there are more than the counter can hold")
    func rising() {
        let ids = UUID.timeOrdered(count: 10_000, now: Date(timeIntervalSince1970: 1_800_000_000))
        let texts = ids.map(\.uuidString)
        #expect(texts == texts.sorted() && Set(texts).count == 10_000)
        // The version is 7, and the variant is that of RFC 9562.
        #expect(texts.allSatisfy { $0.dropFirst(14).first == "7" && "89AB".contains($0.dropFirst(19).first ?? "x") })
    }

    @Test("For a count of 0, no id is made")
    func none() { #expect(UUID.timeOrdered(count: 0).isEmpty) }
}
