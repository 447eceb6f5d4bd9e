import Foundation
import Tenancy
import Testing

@testable import Console

@Suite("Texts in a language")
struct TextsTests {
    private let german = Texts(
        language: "de",
        messages: [
            "format:group": ".", "format:decimal": ",", "format:day": "{day}. {month} {year}",
            "format:months": "Januar Februar März",
            "format:moment": "{day}. {month} {year}, {time}", "cells.one": "{n} Wert", "cells.other": "{n} Werte",
            "ago:hours.one": "vor {n} Stunde", "ago:hours.other": "vor {n} Stunden", "in:minutes.one": "in {n} Minute",
            "in:minutes.other": "in {n} Minuten", "ago:now": "gerade eben", "in:now": "gleich",
            "hours.one": "{n} Stunde", "hours.other": "{n} Stunden", "minutes.one": "{n} Minute", "minutes.other": "{n} Minuten",
            "seconds": "{n} s", "error:There is no entity {1}.": "Es gibt keine Entität {1}.",
            "error:There is no {1}.": "Es fehlt: {1}.",
            "error:Nothing was changed.": "Nichts wurde geändert.", "role:System Administrator": "Systemadministrator",
            "error:{1} may not {2}.": "{1} darf nicht: {2}.",
        ], english: ["hello": "Hello {name}, {missing}", "cells.one": "{n} cell"])

    @Test("A text that a language lacks is shown in English, and a placeholder without a value is shown as its name")
    func missing() {
        #expect(german.text("hello", ["name": "Ada"]) == "Hello Ada, {missing}")
        #expect(german["no such key"] == "no such key" && german.optional("no such key") == nil)
        #expect(german.filled("an open {brace", [:]) == "an open brace")
        // A placeholder in an inserted value is not replaced.
        #expect(german.filled("{a}{b}", ["a": "{b}", "b": "x"]) == "{b}x")
    }

    @Test("Numbers are written with the separators of the language")
    func numbers() {
        #expect(
            [0, 999, 1_000, -1_234_567, Int.min].map(german.number) == [
                "0", "999", "1.000", "-1.234.567", "-9.223.372.036.854.775.808",
            ])
        #expect(german.decimal(1.005, digits: 1) == "1,0")
        #expect(
            german.count("cells", 1) == "1 Wert" && german.count("cells", 0) == "0 Werte"
                && german.count("cells", 2_000) == "2.000 Werte")
        let french = Texts(
            language: "fr", messages: ["format:zero": "one", "format:group": " "], english: ["cells.one": "{n} valeur"])
        #expect(french.count("cells", 0) == "0 valeur")
    }

    @Test("Moments are written in the form of the language, and relative to now")
    func moments() {
        let moment = Date(timeIntervalSince1970: 1_709_251_199)
        #expect(german.day(moment) == "29. Februar 2024" && german.moment(moment) == "29. Februar 2024, 23:59:59")
        #expect(german.ago(moment, now: moment.addingTimeInterval(2 * 3_600 + 59)) == "vor 2 Stunden")
        #expect(german.ago(moment, now: moment.addingTimeInterval(3_600)) == "vor 1 Stunde")
        #expect(german.ago(moment, now: moment.addingTimeInterval(-60)) == "in 1 Minute")
        #expect(
            german.ago(moment, now: moment) == "gerade eben" && german.ago(moment, now: moment.addingTimeInterval(-30)) == "gleich")
    }

    @Test("A span of time is written in the largest unit of which it is a whole number")
    func spans() {
        #expect(
            [3_600, 86_400, 300, 5_400, 60].map(german.span) == ["1 Stunde", "24 Stunden", "5 Minuten", "90 Minuten", "1 Minute"])
        #expect([90, 0, 5].map(german.span) == ["90 s", "0 s", "5,00 s"])
    }

    @Test("If several translated messages match an error, the one with the most literal text is used")
    func errors() {
        #expect(german.told("Nothing was changed.") == "Nichts wurde geändert.")
        #expect(german.told("There is no entity cat.") == "Es gibt keine Entität cat.")
        #expect(german.told("There is no dog.") == "Es fehlt: dog.")
        #expect(german.told("System Administrator may not fly.") == "Systemadministrator darf nicht: fly.")
        #expect(german.told("An unknown message") == "An unknown message")
    }

    @Test("Each kind and outcome of a security event has a text in each language", arguments: try ConsoleFiles().languageNames)
    func events(_ language: String) throws {
        let texts = try ConsoleFiles().texts(language)
        #expect(texts.language == language)
        let kinds = SecurityEvent.Kind.allCases.map { "event:\($0.rawValue)" }
        let outcomes = SecurityEvent.Outcome.allCases.map { "outcome:\($0.rawValue)" }
        #expect((kinds + outcomes).filter { texts.messages[$0] == nil } == [])
    }
}
