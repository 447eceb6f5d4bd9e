import Foundation
import Testing

@testable import Console

@Suite("The bytes of forms with files that are held")
struct HeldUploadsTests {
    private let ada = UUID()
    private let ben = UUID()
    private let cem = UUID()

    @Test("Forms whose bytes have not arrived take no room")
    func idle() {
        let uploads = HeldUploads(personLimit: 10, limit: 10)
        let idle = (0..<100).map { _ in uploads.hold(of: ada) }
        let other = uploads.hold(of: ben)
        #expect(other.add(10))
        withExtendedLifetime((idle, other)) {}
    }

    @Test("The forms of one person have at most one limit together, and a form that ends gives its bytes back")
    func ofOnePerson() {
        let uploads = HeldUploads(personLimit: 10, limit: 100)
        var first: HeldUploads.Hold? = uploads.hold(of: ada)
        let (second, other) = (uploads.hold(of: ada), uploads.hold(of: ben))
        #expect(first?.add(6) == true && second.add(4))
        // Bytes that were refused are not counted. Each person has a separate limit.
        #expect(!second.add(1) && !second.add(7) && other.add(10))
        first = nil
        #expect(!second.add(7) && second.add(6) && !second.add(1))
        withExtendedLifetime((second, other)) {}
    }

    @Test("All forms have at most one limit together, and a form that ends gives its bytes back to all")
    func ofAll() {
        let uploads = HeldUploads(personLimit: 10, limit: 25)
        var first: HeldUploads.Hold? = uploads.hold(of: ada)
        let (second, third) = (uploads.hold(of: ben), uploads.hold(of: cem))
        #expect(first?.add(10) == true && second.add(10) && third.add(5))
        #expect(!third.add(1))
        first = nil
        #expect(!third.add(6) && third.add(5))
        withExtendedLifetime((second, third)) {}
    }

    @Test("Forms that arrive at the same time are counted exactly, and nothing stays counted after them")
    func atTheSameTime() async {
        let uploads = HeldUploads(personLimit: 1_000, limit: 1_000)
        for _ in 0..<2 {
            let hold = uploads.hold(of: ada)
            let held = await withTaskGroup(of: Int.self) { group in
                for _ in 0..<100 { group.addTask { (0..<20).count(where: { _ in hold.add(1) }) } }
                return await group.reduce(0, +)
            }
            #expect(held == 1_000)
        }
        let last = uploads.hold(of: ben)
        #expect(last.add(1_000))
        withExtendedLifetime(last) {}
    }
}
