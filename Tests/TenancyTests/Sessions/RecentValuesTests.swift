import Testing

@testable import Tenancy

@Suite("A memory of the values that were used last")
struct RecentValuesTests {
    @Test("Values in use are kept, unused values are dropped, and a forgotten value is gone")
    func use() {
        var values = RecentValues<Int, String>(limit: 10)
        values.keep("busy", for: -1)
        values.keep("asleep", for: -2)
        for number in 0..<100 {
            values.keep("\(number)", for: number)
            #expect(values.value(of: -1) == "busy")
            #expect(values.count <= 20)
        }
        #expect(values.value(of: -2) == nil)
        #expect(values.value(of: 99) == "99")
        values.forget(99)
        #expect(values.value(of: 99) == nil)
    }

    @Test("A new value replaces the older value of its key, so no value remains after the key is forgotten")
    func replacement() {
        var values = RecentValues<Int, String>(limit: 1)
        values.keep("first", for: 1)
        values.keep("other", for: 2)
        values.keep("second", for: 1)
        values.forget(1)
        #expect(values.value(of: 1) == nil)
    }
}
