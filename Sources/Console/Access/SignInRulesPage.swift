import Authentication
import Foundation
import HTTPTypes
import Model
import Tenancy

// The rules for signing in: who needs two steps, and the rules for passwords and sessions.
extension Console {
    @Sendable func signInRules(_ visit: Visit) async throws -> PageResponse {
        var values = try await signInRuleValues(visit, ticked: Set(try visit.session().rolesWithSecondFactor()))
        if let done = visit.query("done"), ["rulesSaved", "nothingChanged"].contains(done) { values["notice"] = visit.text(done) }
        return .page("sign-in-rules", values)
    }

    /// - Parameter ticked: The roles that the form shows as required.
    private func signInRuleValues(_ visit: Visit, ticked: Set<Role>) async throws -> [String: Any] {
        let session = try visit.session()
        let people = try await PeopleAdministration(session).list().filter { $0.disabledOn == nil }
        let policy = deployment.policy
        func minutes(_ seconds: Int) -> String { visit.texts.number(seconds / 60) }
        return [
            "title": visit.text("signInRules"), "lead": visit.text("signInRulesLead"), "conflict": false,
            "loaded": Self.list(try session.rolesWithSecondFactor()),
            "roles": SecondFactorPolicy.roles.map { role -> [String: Any] in
                let without = people.filter { $0.role == role.rawValue && !$0.hasSecondFactor }.count
                return [
                    "field": "role.\(role.rawValue)", "text": visit.text("role:\(role.rawValue)"),
                    "checked": ticked.contains(role),
                    "without": without > 0 ? visit.texts.count("withoutSecondFactor", without) : false as Any,
                ]
            },
            "facts": [
                visit.text("passwordRule"),
                visit.text(
                    "sessionRule",
                    [
                        "minutes": minutes(ConsoleSessions.idleLimit),
                        "hours": visit.texts.number(ConsoleSessions.absoluteLimit / 3_600),
                    ]),
                visit.text("freshRule", ["minutes": minutes(ConsoleSessions.reauthenticationLimit)]),
                visit.text(
                    "failureRule",
                    ["n": visit.texts.number(policy.failureLimit), "minutes": minutes(policy.failureInterval)]),
            ],
        ]
    }

    /// The values of the page, with the boxes ticked as in a form that waited for the password and was canceled.
    func tickedSignInRules(_ visit: Visit) async throws -> [String: Any] {
        var values = try await signInRuleValues(visit, ticked: Self.ticked(visit))
        values["loaded"] = visit.form["loaded"] ?? ""
        return values
    }

    private static func ticked(_ visit: Visit) -> Set<Role> {
        Set(SecondFactorPolicy.roles.filter { visit.form["role.\($0.rawValue)"] == "1" })
    }

    /// The value of a hidden field: the roles that the page showed as required.
    private static func list(_ roles: [Role]) -> String { roles.map(\.rawValue).joined(separator: ",") }

    @Sendable func saveSignInRules(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        let administration = try SecondFactorAdministration(session)
        if let reply = try await requireReauthentication(visit, for: "access/rules") { return reply }
        let required = Set(try session.rolesWithSecondFactor())
        let ticked = Self.ticked(visit)
        let loaded =
            visit.form["loaded"].map { Set($0.split(separator: ",").compactMap { Role(rawValue: String($0)) }) } ?? required
        // Only roles that were ticked or unticked on the page are this person's change.
        let wanted = required.union(ticked.subtracting(loaded)).subtracting(loaded.subtracting(ticked))
        if loaded != required { return try await rulesConflict(from: loaded, to: required, ticked: wanted, visit) }
        if wanted == required { return .redirect("\(visit.root)/access/rules?done=nothingChanged") }
        // Stricter rules need no confirmation. The affected people have to turn on one-time passwords at their next page.
        let eased = SecondFactorPolicy.roles.filter { required.contains($0) && !wanted.contains($0) }
        if !eased.isEmpty, let question = try easing(eased, wanted, visit) { return question }
        try await administration.change(adding: wanted.subtracting(required), removing: required.subtracting(wanted))
        return .redirect("\(visit.root)/access/rules?done=rulesSaved")
    }

    /// Shows the page again after another person saved the rules meanwhile. The page says what the other person changed, and keeps
    /// the boxes as they were ticked here.
    private func rulesConflict(
        from loaded: Set<Role>, to now: Set<Role>, ticked: Set<Role>, _ visit: Visit
    ) async throws -> PageResponse {
        var filter = EventFilter()
        filter.kinds = [SecurityEvent.Kind.secondFactorPolicySet.rawValue]
        let actor = try await EventReading(visit.session()).events(filter, limit: 1).first?.actor
        let who = actor.map { ActorName.shown($0, visit.texts) } ?? visit.text("anotherPerson")
        let isYou = actor == visit.signed.map { "user:\($0.name)" }
        let changed = SecondFactorPolicy.roles.filter { loaded.contains($0) != now.contains($0) }
        var values = try await signInRuleValues(visit, ticked: ticked)
        values["conflict"] = [
            "text": isYou ? visit.text("rulesConflictByYou") : visit.text("rulesConflictBy", ["who": who]),
            "changes": changed.map { role in
                [
                    "label": visit.text("role:\(role.rawValue)"),
                    "before": visit.text(loaded.contains(role) ? "isRequired" : "isNotRequired"),
                    "now": visit.text(now.contains(role) ? "isRequired" : "isNotRequired"),
                ]
            },
            "next": visit.text(ticked == now ? "rulesConflictSame" : "rulesConflictNext"),
        ]
        return .page("sign-in-rules", values, status: .conflict)
    }

    /// Asks for confirmation before people may sign in with a password alone again; nil after the answer.
    private func easing(_ eased: [Role], _ wanted: Set<Role>, _ visit: Visit) throws -> PageResponse? {
        let names = eased.map { visit.text("role:\($0.rawValue)") }.joined(separator: ", ")
        var fields = Dictionary(uniqueKeysWithValues: wanted.map { ("role.\($0.rawValue)", "1") })
        fields["loaded"] = visit.form["loaded"]
        return try unanswered(
            ("easeTitle", "easeWhy", "easeNow"), ["roles": names], "access/rules", fields, "access/rules",
            about: eased.map(\.rawValue), visit)
    }
}
