import Foundation
import Model
import Testing

@testable import Console

@Suite("Labels of attributes")
struct AttributeLabelTests {
    /// The records whose attributes *Changes* or a form can show.
    private static let entities = Navigation.sets + [.systemUser, .team]

    @Test("Every attribute that a page can show has a label in each language", arguments: try ConsoleFiles().languageNames)
    func labels(_ language: String) throws {
        let texts = try ConsoleFiles().texts(language)
        for entity in Self.entities {
            for attribute in entity.attributes {
                let key = "attribute:\(attribute.logicalName)"
                let own = "attribute:\(entity.logicalName).\(attribute.logicalName)"
                #expect(
                    (texts.messages[own] ?? texts.messages[key]) != nil,
                    "\(language) lacks \(entity.logicalName).\(attribute.logicalName)")
            }
        }
        for entity in Navigation.shownSets {
            let layout = RecordLayout.of(entity)
            for name in layout.columns + layout.filters + [layout.filter].compactMap({ $0 }) where entity[name] != nil {
                #expect(texts.messages["attribute:\(name)"] != nil, "\(language) lacks \(entity.logicalName).\(name)")
            }
        }
    }

    @Test("Every option of every attribute has words in each language", arguments: try ConsoleFiles().languageNames)
    func options(_ language: String) throws {
        let texts = try ConsoleFiles().texts(language)
        var count = 0
        for entity in EntityCatalog.all {
            for attribute in entity.attributes {
                for option in attribute.type.options?.options ?? [] {
                    count += 1
                    #expect(
                        texts.messages["option:\(option.label)"] != nil,
                        "\(language) lacks \(entity.logicalName).\(attribute.logicalName): \(option.label)")
                }
            }
        }
        #expect(count > 150)
    }

    @Test("Each file of messages is a language, which the header Accept-Language can request by its tag")
    func languages() throws {
        let files = try ConsoleFiles()
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../../Sources/CConsole/Messages")
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path).map { $0.replacing(".json", with: "") }
        #expect(files.languageNames == names.sorted() && names.count > 2)
        for name in names { #expect(files.texts("\(name)-CH, en;q=0.5").language == name) }
    }
}
