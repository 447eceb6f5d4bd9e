import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// Adding a person: with a new user, or as a user who exists and has no sign-in.
extension Console {
    /// How many users without a sign-in the form offers. For any other user, the user's own page has a link to the form.
    private static let offeredUsers = 200
    /// The prefix of the form's value for the choice of a new user, although a user with the typed name exists.
    private static let another = "another:"

    @Sendable func newPerson(_ visit: Visit) async throws -> PageResponse {
        .page("person-new", try await newPersonValues(visit))
    }

    /// - Parameter same: Users with the typed name. The form asks whether one of these users is meant.
    func newPersonValues(
        _ visit: Visit, problem: String? = nil, same: [PeopleAdministration.FreeUser] = []
    ) async throws -> [String: Any] {
        let people = try PeopleAdministration(visit.session())
        let role = visit.form["role"].flatMap(Role.init(rawValue:)) ?? .basicUser
        var free = try await people.free(limit: Self.offeredUsers)
        var chosen = visit.form["existing"] ?? ""
        if let id = UUID(text: visit.query("user") ?? chosen) {
            let named = try await people.free(id: id, limit: 1)
            free = named.filter { user in !free.contains { $0.id == user.id } } + free
            chosen = id.text
        }
        if let first = same.first { chosen = first.id.text }
        let typed = visit.form["name"] ?? free.first { $0.id.text == chosen }?.name ?? ""
        let isAsked = !same.isEmpty || chosen.hasPrefix(Self.another)
        var options = [("", visit.text("newUser"))]
        if isAsked { options.append((Self.another + typed, visit.text("anotherUserNamed", ["name": typed]))) }
        options += free.map { ($0.id.text, $0.detail.isEmpty ? $0.name : "\($0.name)\(RecordOffer.separator)\($0.detail)") }
        var values: [String: Any] = [
            "title": visit.text("addPerson"), "lead": visit.text("addPersonLead"), "name": typed,
            "roles": roles(Self.peopleRoles, chosen: role, visit), "days": "\(PeopleAdministration.invitationDays)",
            "isInvited": visit.form["how"] != "password", "users": Self.options(options, chosen: chosen),
            "hasUsers": !free.isEmpty, "passwordError": false,
            "address": visit.form[Self.mailboxAddressField] ?? "", "mayMakeMailbox": Self.may(.create, .mailbox, visit),
            "inviteWhy": visit.text("inviteWhy", ["days": "\(PeopleAdministration.invitationDays)"]),
        ]
        values["problem"] = problem
        return values
    }

    func addPerson(_ visit: Visit, _ people: PeopleAdministration) async throws -> PageResponse {
        guard let role = visit.form["role"].flatMap(Role.init(rawValue:)) else { throw FieldsealError.noRole }
        let (isInvited, password) = (visit.form["how"] == "invite", visit.form["password"] ?? "")
        guard !isInvited || password.isEmpty else { throw FieldsealError(.invalidArgument, Self.bothWays) }
        let choice = visit.form["existing"] ?? ""
        let existing = UUID(text: choice)
        guard existing != nil || choice.isEmpty || choice.hasPrefix(Self.another) else {
            throw FieldsealError.noSuchRecord(.systemUser, choice)
        }
        var name = visit.form["name"] ?? ""
        if name.isEmpty, let existing { name = try await people.free(id: existing, limit: 1).first?.name ?? "" }
        guard !name.allSatisfy(\.isWhitespace) else { throw FieldsealError(.invalidArgument, visit.text("personNeedsName")) }
        let address = try await typedMailboxAddress(visit)
        if let existing, address != nil, try await mailbox(ofUser: existing, visit) != nil {
            throw FieldsealError(.invalidArgument, visit.text("userHasMailbox"))
        }
        if existing == nil, choice != Self.another + name {
            let same = try await people.free(named: name, limit: Self.offeredUsers)
            if !same.isEmpty {
                let again = password.isEmpty ? "" : " \(visit.text("typePasswordAgain"))"
                let problem = visit.text("userOfThatName", ["name": name]) + again
                return .page("person-new", try await newPersonValues(visit, problem: problem, same: same), status: .conflict)
            }
        }
        let id = try await people.add(name: name, password: isInvited ? nil : password, role: role, existing: existing)
        if address != nil { try await makeMailbox(of: try await entry(id.text, visit), visit) }
        let page = "access/people/\(id.text)?done=add-user"
        guard isInvited else { return .redirect("\(visit.root)/\(page)") }
        return try showing(try await people.invite(id), of: id, on: page, visit)
    }

    /// The link from a user to the person who signs in as it, or to the form that gives it a sign-in.
    func signInLink(of user: UUID, _ visit: Visit) async throws -> [String: Any] {
        let people = try await PeopleAdministration(visit.session()).list()
        if let person = people.first(where: { $0.systemUserID == user }) {
            return ["text": visit.text("linkPerson"), "href": "\(visit.root)/access/people/\(person.id.text)"]
        }
        return ["text": visit.text("linkGiveSignIn"), "href": "\(visit.root)/access/people/new?user=\(user.text)"]
    }

    private static let bothWays = "A password was typed, but the link was chosen. Choose one of the two ways."

    // MARK: What a page shows once

    /// Redirects to a page that shows a secret which is not stored, so that loading the page again does not send the form
    /// again.
    ///
    /// The page's address contains the secret, sealed. The secret opens only in this session, and only for half an hour.
    func showing(_ secret: String, of id: UUID, on page: String, _ visit: Visit) throws -> PageResponse {
        let sealed = try shownSecrets(of: id, visit).sealed(secret, for: Self.shown)
        return .redirect("\(visit.root)/\(page)&\(Self.shown)=\(sealed)")
    }

    /// The secret in the address of this page; nil if there is none, or after half an hour.
    func shownSecret(of id: UUID, _ visit: Visit) throws -> String? {
        guard let sealed = visit.query(Self.shown) else { return nil }
        return try shownSecrets(of: id, visit).opened(sealed, for: Self.shown)
    }

    /// The parameter with a sealed secret.
    static let shown = "shown"

    private func shownSecrets(of id: UUID, _ visit: Visit) throws -> KeptSecrets {
        try KeptSecrets(
            deployment.kek, organization: try visit.session().organization.id, form: "shown", record: id, token: visit.token ?? "")
    }
}
