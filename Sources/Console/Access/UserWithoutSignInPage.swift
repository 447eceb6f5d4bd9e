import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Users without a sign-in to the console: what to do with their access and records when they leave. Shown on the page of their
// settings.
extension Console {
    /// The address of the forms about users without a sign-in.
    static let userWithoutSignInPath = "access/user-without-sign-in"

    /// What a form does to a user without a sign-in.
    private enum UserWithoutSignInChange: String {
        case disable, enable
        case handOver = "hand-over"
    }

    /// The card about a user without a sign-in; false for a person, and for the user of a program.
    func userWithoutSignIn(_ user: UUID, _ visit: Visit) async throws -> Any {
        guard let (holder, isDisabled) = try await withoutSignIn(user, visit) else { return false }
        var values = try await belongings(holder, visit)
        values["isDisabled"] = isDisabled
        values["user"] = user.text
        values["why"] = visit.text(isDisabled ? "userWithoutSignInDisabled" : "userWithoutSignInWhy", ["name": holder.name])
        values["heirs"] = try await heirs(besides: holder, visit)
        return values
    }

    /// A user without a sign-in, and whether it is disabled.
    private func withoutSignIn(_ user: UUID, _ visit: Visit) async throws -> (Holder, isDisabled: Bool)? {
        let session = try visit.session()
        let people = try await PeopleAdministration(session).list()
        guard !people.contains(where: { $0.systemUserID == user }),
            let record = try await session.retrieve(.systemUser, .id(user)).records.first,
            case .text(let name) = try record.value(of: "fullname")
        else { return nil }
        if case .bool(true) = try record.value(of: "isdisabled") { return (Holder(user: user, name: name), true) }
        let isFree = try await !PeopleAdministration(session).free(id: user, limit: 1).isEmpty
        return isFree ? (Holder(user: user, name: name), false) : nil
    }

    /// Disables or enables a user without a sign-in, or assigns the user's records to another owner.
    @Sendable func changeUserWithoutSignIn(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        _ = try PeopleAdministration(session)
        guard let change = visit.form["do"].flatMap(UserWithoutSignInChange.init(rawValue:)) else { throw FieldsealError.noPage }
        guard let user = UUID(text: visit.form["user"] ?? ""), let (holder, _) = try await withoutSignIn(user, visit) else {
            throw FieldsealError.noSuchRecord(.systemUser)
        }
        if let reply = try await requireReauthentication(visit, for: Self.userWithoutSignInPath) { return reply }
        let page = "records/\(EntityDefinition.userSettings.entitySetName)/\(user.text)"
        let sent = ["user": user.text, "do": change.rawValue]
        var problem: String?
        do {
            switch change {
            case .disable, .enable:
                if change == .disable {
                    let links = try await belongings(holder, handOver: "\(page)#without-sign-in", visit)["belongings"] ?? false
                    let more: [String: Any] = ["linksTitle": visit.text("belongsToPerson", ["name": holder.name]), "links": links]
                    if let question = try unanswered(
                        ("disableTitle", "disableUserWithoutSignInWhy", "disable"), ["name": holder.name],
                        Self.userWithoutSignInPath, sent, page,
                        about: [user.text], visit, more)
                    {
                        return question
                    }
                }
                let members = [JSONValue.Member("isdisabled", .bool(change == .disable))]
                try await session.write(.upsert(.systemUser, .id(user), members, .mustExist))
            case .handOver:
                if let question = try await handOverQuestion(holder, Self.userWithoutSignInPath, sent, page, visit) {
                    return question
                }
                let failed = try await handOver(from: holder, visit).failed
                if failed > 0 { problem = visit.texts.count("notHandedOver", failed) }
            }
        } catch let error as FieldsealError where error.code.httpStatus < 500 && error.code != .privilegeDenied {
            problem = visit.texts.told(error.message)
        }
        guard let problem else { return .redirect("\(visit.root)/\(page)?done=user-without-sign-in-\(change.rawValue)") }
        let (record, secrets) = try await read(.userSettings, user, visit)
        var reply = try await recordPage(visit, .userSettings, record, secrets)
        if case .page(let template, var values, _) = reply.content {
            values["problem"] = problem
            reply.content = .page(template, values, .conflict)
        }
        return reply
    }
}
