import Foundation
import Testing

@testable import JSON

@Suite("Ids in the order of time")
struct IdentifiersTests {
    @Test("Ids from one call are in ascending order and all different, even if there are more than the counter can number")
    func rising() {
        let ids = UUID.timeOrdered(count: 10_000, now: Date(timeIntervalSince1970: 1_800_000_000))
        let texts = ids.map(\.uuidString)
        #expect(texts == texts.sorted() && Set(texts).count == 10_000)
        // Each id has the version 7 and the variant bits of RFC 9562.
        #expect(texts.allSatisfy { $0.dropFirst(14).first == "7" && "89AB".contains($0.dropFirst(19).first ?? "x") })
    }

    @Test("A count of 0 returns no id")
    func none() { #expect(UUID.timeOrdered(count: 0).isEmpty) }
}
