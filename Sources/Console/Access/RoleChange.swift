import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// Asks for confirmation before a person or a client gets another role.
extension Console {
    /// What a role allows, in the order of the question.
    private enum Ability: String, CaseIterable {
        case mailboxes, ownMail, emails, key, access, credentials

        func belongs(to role: Role) -> Bool {
            switch self {
            case .mailboxes: role == .systemAdministrator || role == .emailAdministrator
            case .ownMail: role != .emailRouter
            case .emails: role == .systemAdministrator || role == .basicUser
            case .key, .access: role == .systemAdministrator
            case .credentials: role == .emailRouter
            }
        }
    }

    /// The question; nil if it was answered, or if the role does not change.
    ///
    /// - Parameter person: The person who gets the role; nil for a client.
    func roleQuestion(
        _ action: String, _ id: String, name: String, from old: String, to role: Role,
        person: PeopleAdministration.Entry? = nil, _ visit: Visit
    ) throws -> PageResponse? {
        guard old != role.rawValue, let former = Role(rawValue: old) else { return nil }
        let subject = try Self.subject([action, id, old, role.rawValue])
        guard visit.form["confirmed"] != subject else { return nil }
        func list(_ isGained: Bool) -> [String] {
            Ability.allCases.filter { $0.belongs(to: role) == isGained && $0.belongs(to: former) != isGained }
                .map { visit.text("ability:\($0.rawValue)") }
        }
        let (gains, losses) = (list(true), list(false))
        var lines: [String] = []
        if !losses.isEmpty { lines.append(visit.text("roleLoses", ["what": losses.joined(separator: "; ")])) }
        if !gains.isEmpty { lines.append(visit.text("roleGains", ["what": gains.joined(separator: "; ")])) }
        if let person {
            if name == visit.signed?.name { lines.append(visit.text("roleYourself")) }
            let ends = ["roleEndsSessions", person.hasOwnPassword ? "roleKeepsPassword" : "roleEndsPassword"]
            lines += (role.adds(to: former) ? ends : ["roleSessionsGoOn"]).map { visit.text($0, ["name": name]) }
        }
        lines.append(visit.text(person == nil ? "roleWayBackClient" : "roleWayBack"))
        let names = roleNames(name, old, role, visit)
        return .page(
            "confirm",
            [
                "title": visit.text("roleTitle", names), "text": visit.text("roleFromTo", names), "lines": lines,
                "isHarmless": losses.isEmpty && role != .systemAdministrator,
                "action": "\(visit.root)/access/\(action)",
                "fields": [
                    ["name": "id", "value": id], ["name": "role", "value": role.rawValue], ["name": "confirmed", "value": subject],
                ],
                "button": visit.text("changeRole"),
                "back": "\(visit.root)/access/\(person == nil ? "clients" : "people")/\(id)",
            ])
    }

    private func roleNames(_ name: String, _ old: String, _ role: Role, _ visit: Visit) -> [String: String] {
        ["name": name, "old": visit.text("role:\(old)"), "new": visit.text("role:\(role.rawValue)")]
    }

    /// The notice after a change of role. The notice names both roles if the page's address has the former role.
    func roleNotice(_ name: String, _ role: String, _ visit: Visit) -> String? {
        guard let old = visit.query("was").flatMap(Role.init(rawValue:)), let role = Role(rawValue: role), old != role else {
            return nil
        }
        let changed = visit.text("roleChanged", roleNames(name, old.rawValue, role, visit))
        return visit.query("ended") == "password" ? "\(changed) \(visit.text("rolePasswordEnded", ["name": name]))" : changed
    }
}
