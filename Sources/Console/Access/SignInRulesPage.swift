import Authentication
import Foundation
import HTTPTypes
import Model
import Tenancy

// The rules for signing in: who needs two steps, and the rules for passwords and sessions.
extension Console {
    @Sendable func signInRules(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        let people = try await ConsoleUsers(deployment).list(by: session).filter { $0.disabledOn == nil }
        let required = try session.rolesWithSecondFactor()
        let policy = deployment.policy
        func minutes(_ seconds: Int) -> String { visit.texts.number(seconds / 60) }
        var values: [String: Any] = [
            "title": visit.text("signInRules"), "lead": visit.text("signInRulesLead"),
            "roles": SecondFactorPolicy.roles.map { role -> [String: Any] in
                let without = people.filter { $0.role == role.rawValue && !$0.hasSecondFactor }.count
                return [
                    "field": "role.\(role.rawValue)", "text": visit.text("role:\(role.rawValue)"),
                    "checked": required.contains(role),
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
        if visit.query("done") == "rulesSaved" { values["notice"] = visit.text("rulesSaved") }
        return .page("sign-in-rules", values)
    }

    @Sendable func saveSignInRules(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        try session.requireSystemAdministrator(to: "require one-time passwords")
        if let reply = try await requireReauthentication(visit, for: "access/rules") { return reply }
        let required = Set(try session.rolesWithSecondFactor())
        let wanted = Set(SecondFactorPolicy.roles.filter { visit.form["role.\($0.rawValue)"] == "1" })
        // Stricter rules need no confirmation. People are led through them at their next page.
        let eased = SecondFactorPolicy.roles.filter { required.contains($0) && !wanted.contains($0) }
        if !eased.isEmpty, visit.form["confirmed"] != "1" { return easing(eased, wanted, visit) }
        if wanted != required { try await session.requireSecondFactor(of: wanted) }
        return .redirect("\(visit.root)/access/rules?done=rulesSaved")
    }

    /// Asks for confirmation before people may sign in with a password alone again.
    private func easing(_ eased: [Role], _ wanted: Set<Role>, _ visit: Visit) -> PageResponse {
        let names = eased.map { visit.text("role:\($0.rawValue)") }.joined(separator: ", ")
        let roles = SecondFactorPolicy.roles.filter(wanted.contains).map { ["name": "role.\($0.rawValue)", "value": "1"] }
        return .page(
            "confirm",
            [
                "title": visit.text("easeTitle"), "text": visit.text("easeWhy", ["roles": names]),
                "action": "\(visit.root)/access/rules", "fields": roles + [["name": "confirmed", "value": "1"]],
                "button": visit.text("easeNow"), "back": "\(visit.root)/access/rules",
            ])
    }
}
