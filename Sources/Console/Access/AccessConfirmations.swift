import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// Asks for confirmation before a person or a client is disabled or removed.
extension Console {
    /// Actions on people and clients that need a confirmation.
    enum AccessEnding: String, CaseIterable {
        case disable, remove

        fileprivate var texts: (title: String, yourself: String, person: String, client: String, button: String) {
            switch self {
            case .disable: ("disableTitle", "disableYourself", "disablePersonWhy", "disableClientWhy", "disableNow")
            case .remove: ("removeTitle", "removeYourself", "removePersonWhy", "removeClientWhy", "removeNow")
            }
        }
    }

    /// The question. The question names the person or the client.
    func confirmEnding(_ ending: AccessEnding, _ visit: Visit, isPerson: Bool) async throws -> PageResponse {
        let id = visit.parameter("id") ?? ""
        let session = try visit.session()
        let found =
            isPerson
            ? try await entry(id, visit).name : try await ClientAdministration(session).list().first { $0.id.text == id }?.name
        guard let name = found else { throw FieldsealError(.objectDoesNotExist, "There is no such client here.") }
        let isYou = isPerson && name == visit.signed?.name
        let texts = ending.texts
        let why: String = isPerson ? (isYou ? texts.yourself : texts.person) : texts.client
        // The question lists what a person still owns, before their access ends.
        let page = "access/people/\(id)#belongings"
        let left: Any =
            isPerson ? try await belongings(try await entry(id, visit), handOver: page, visit)["belongings"] ?? false : false
        return .page(
            "confirm",
            [
                "title": visit.text(texts.title, ["name": name]), "text": visit.text(why, ["name": name]),
                "action": "\(visit.root)/access/\(ending)-\(isPerson ? "user" : "client")",
                "linksTitle": isPerson ? visit.text("belongsToPerson", ["name": name]) : false as Any, "links": left,
                "fields": [["name": "id", "value": id]], "button": visit.text(texts.button, ["name": name]),
                "back": "\(visit.root)/access/\(isPerson ? "people" : "clients")/\(id)",
            ])
    }
}
