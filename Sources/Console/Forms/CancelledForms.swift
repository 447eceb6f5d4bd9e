import Authentication
import Foundation
import HTTPTypes
import Tenancy

// If a person cancels the request for their password, the page of their form comes back with what they typed, but never with a
// secret.
extension Console {
    /// The addresses of forms with typed fields, each with the address of its page. Other forms that wait have only buttons.
    private static let typedForms = [
        "access/add-user": "access/people/new", "access/add-client": "access/clients/new", "access/rules": "access/rules",
    ]

    /// Whether the form comes back with what was typed.
    static func isTyped(_ path: String?) -> Bool { path.map { typedForms[$0] != nil } ?? false }

    /// The page of a form that waited for the password.
    func cancelled(_ kept: String?, by signed: ConsoleSessions.AuthenticatedUser, _ visit: Visit) async throws -> PageResponse {
        guard let form = kept.flatMap({ KeptForm(deployment.kek, signed).opened($0) }), let page = Self.typedForms[form.path] else {
            return .redirect("\(visit.root)/overview")
        }
        var visit = visit
        visit.form = form.fields
        let hadPassword = visit.form.removeValue(forKey: "password")?.isEmpty == false
        let template: String
        var values: [String: Any]
        switch form.path {
        case "access/add-user": (template, values) = ("person-new", try await newPersonValues(visit))
        case "access/add-client": (template, values) = ("client-new", try newClientValues(visit))
        default: (template, values) = ("sign-in-rules", try await tickedSignInRules(visit))
        }
        if hadPassword { values["caution"] = visit.text("typePasswordAgain") }
        values["answerAt"] = "\(visit.root)/\(page)"
        return .page(template, values)
    }
}
