import Foundation
import JSON
import Testing

/// Compares the texts that the service's own code writes with the texts that Foundation and the standard library write.
@Suite("Values as text")
struct TextTests {
    @Test(
        "Dates are written in the form of RFC 3339",
        arguments: [0, 3_600, 86_400 * 59, 86_400 * 60] + (0..<400).map { $0 * 150_000_017 })
    func date(_ seconds: Int) throws {
        // The dates begin in 1600 and are less than five years apart, so every kind of leap year is among them.
        let date = Date(timeIntervalSince1970: Double(seconds - 11_676_096_000))
        #expect(ISO8601.text(date) == date.formatted(.iso8601))
        #expect(ISO8601.date(ISO8601.text(date)) == date)
    }

    @Test("Years are written with at least four digits")
    func years() {
        #expect(ISO8601.text(Date(timeIntervalSince1970: -62_135_596_800)) == "0001-01-01T00:00:00Z")
        #expect(ISO8601.text(Date(timeIntervalSince1970: -58_979_923_200)) == "0101-01-01T00:00:00Z")
        #expect(ISO8601.text(Date(timeIntervalSince1970: 253_402_300_800)) == "10000-01-01T00:00:00Z")
    }

    @Test(
        "Dates in the form of RFC 3339 are parsed, also without the time, the seconds or the zone",
        arguments: [
            ("2026-01-31", 1_769_817_600), ("2026-01-31T12:00Z", 1_769_860_800), ("2026-01-31T12:00:01", 1_769_860_801),
            ("2026-01-31 12:00:01Z", 1_769_860_801), ("2026-01-31t12:00:01.5z", 1_769_860_801.5),
            ("2026-01-31T12:00:01+05:30", 1_769_841_001), ("2026-01-31T12:00:01-05:30", 1_769_880_601),
            ("2024-02-29", 1_709_164_800), ("2000-02-29", 951_782_400), ("0001-01-01", -62_135_596_800),
            ("9999-12-31T23:59:59.999Z", 253_402_300_799.999),
        ] as [(String, Double)])
    func reading(_ text: String, _ seconds: Double) {
        #expect(ISO8601.date(text) == Date(timeIntervalSince1970: seconds))
    }

    @Test(
        "A text that is not a valid date is refused",
        arguments: [
            "2026-02-30", "2026-02-29", "1900-02-29", "2026-04-31", "2026-13-01", "2026-00-10", "2026-01-00", "2026-01-32",
            "0000-01-01",
            "2026-01-01T24:00:00Z", "2026-01-01T23:60:00Z", "2026-01-01T23:59:60Z", "2026-01-01T12:00:00+24:00",
            "2026-01-01T12:00:00+5",
            "2026-01-01T12:00:00Zjunk", "2026-1-1", "20260101", "2026-01-01T", "2026-01-01T12", "2026-01-01T12:00:00.Z",
            "-2026-01-01",
            "+026-01-01", " 2026-01-01", "2026-01-01 ", "2026-01-01T12:00:00,5Z", "٢٠٢٦-01-01", "", "tomorrow",
        ])
    func notReadingDates(_ text: String) {
        #expect(ISO8601.date(text) == nil)
    }

    @Test("A time is written rounded down to the second, also before 1970")
    func fraction() {
        #expect(ISO8601.text(Date(timeIntervalSince1970: 0.999)) == "1970-01-01T00:00:00Z")
        #expect(ISO8601.text(Date(timeIntervalSince1970: -0.001)) == "1969-12-31T23:59:59Z")
    }

    @Test("Integers are written in decimal", arguments: [0, 1, 9, 10, 99, 100, -1, -10, 1_234_567_890, .max, .min])
    func integer(_ number: Int) {
        var output: [UInt8] = []
        output.appendDecimal(number)
        #expect(String(decoding: output, as: UTF8.self) == String(number))
    }

    @Test("Ids are written in lower case with hyphens")
    func writingIDs() throws {
        for text in ["00000000-0000-0000-0000-000000000000", "0123abcd-89ef-4567-8a9b-fedcba987654"] {
            var output = Array("x".utf8)
            output.append(try #require(UUID(uuidString: text)))
            #expect(String(decoding: output, as: UTF8.self) == "x\(text)")
        }
    }

    @Test("Ids in upper, lower and mixed case are parsed")
    func readingIDs() {
        for text in [id, id.lowercased(), id.uppercased()] { #expect(UUID(text: text)?.text == id.lowercased()) }
    }

    @Test("A text that is not a valid id is refused", arguments: noIDs)
    func notReading(_ text: String) {
        #expect(UUID(text: text) == nil)
    }
}

private let id = "0123ABCD-89ef-4567-8a9b-fedcba987654"

/// Invalid ids: with a character replaced at each position, with one character less or more, and others.
private let noIDs: [String] = {
    let replaced = id.indices.flatMap { index in
        ["-", "+", "g", " ", "é", "\0"].filter { $0 != String(id[index]) }.map {
            id.replacingCharacters(in: index...index, with: $0)
        }
    }
    let shorter = id.indices.map { id.replacingCharacters(in: $0...$0, with: "") }
    return replaced + shorter + ["", id + "0", "{\(id)}", id.filter { $0 != "-" }]
}()
