import Hummingbird
import Model
import Tenancy

/// The groups of pages that a person's role reaches.
enum Navigation {
    /// The entities that have forms.
    static let sets = EntityCatalog.all.filter { !$0.encryptedAttributes.isEmpty }
    /// The entities that are looked at and deleted here, and written by the router and by programs.
    static let shownSets: [EntityDefinition] = [.email, .traceLog]

    static func isShownOnly(_ entity: EntityDefinition) -> Bool { shownSets.contains { $0.logicalName == entity.logicalName } }

    /// Whether a role may see lists of an entity's records.
    static func mayList(_ entity: EntityDefinition, _ roles: RoleSet) -> Bool {
        PrivilegeTable.depth(of: .retrieveMultiple, on: entity, for: roles) != .none
    }

    static func groups(_ visit: Visit) -> [[String: Any]] {
        guard visit.signed != nil else { return [] }
        let mail: [EntityDefinition] = [.mailbox, .emailServerProfile, .queue, .userSettings, .email, .traceLog]
        var groups: [(String?, [(String, String)])] = [
            (nil, [("overview", "overview")]),
            (
                "mail", mail.filter { mayList($0, visit.roles) }.map { ("records/\($0.entitySetName)", $0.logicalName) }
            ),
        ]
        if visit.isAdministrator {
            groups.append(
                ("security", [("settings/data-encryption", "dataEncryption"), ("events", "events"), ("audit", "audit")]))
            groups.append(("administration", [("access", "access")]))
        }
        let current = visit.request.uri.path.dropFirst(visit.root.count + 1)
        return groups.filter { !$0.1.isEmpty }.map { name, items in
            var group: [String: Any] = [
                "items": items.map { path, text -> [String: Any] in
                    [
                        "href": "\(visit.root)/\(path)", "text": visit.text(text),
                        "current": current == path || current.hasPrefix("\(path)/"),
                    ]
                }
            ]
            group["group"] = orFalse(name.map { visit.text($0) })
            return group
        }
    }
}
