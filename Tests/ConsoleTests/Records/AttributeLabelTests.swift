import Model
import Testing

@testable import Console

@Suite("Labels of attributes")
struct AttributeLabelTests {
    /// The records whose attributes *Changes* or a form can show.
    private static let entities = Navigation.sets + [.systemUser, .team]

    @Test("Every attribute that a page can show has a label in each language", arguments: ["en", "de", "fr"])
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
}
