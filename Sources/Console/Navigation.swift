import Hummingbird
import Model
import Tenancy

/// The groups of pages for a person's role.
enum Navigation {
    /// The entities that have forms.
    static let sets = EntityCatalog.all.filter { !$0.encryptedAttributes.isEmpty }
    /// Entities that people can only view and delete in the console. The router and programs write them.
    static let shownSets: [EntityDefinition] = [.email, .traceLog]

    static func isShownOnly(_ entity: EntityDefinition) -> Bool { shownSets.contains { $0.logicalName == entity.logicalName } }

    /// Whether a role may see lists of an entity's records.
    static func mayList(_ entity: EntityDefinition, _ roles: RoleSet) -> Bool {
        PrivilegeTable.depth(of: .retrieveMultiple, on: entity, for: roles) != .none
    }

    /// The letters that open a page after `g`, by the message keys of the pages' names.
    static let keys = [
        "overview": "o", "mailbox": "m", "emailserverprofile": "p", "queue": "q", "usersettings": "u", "email": "e",
        "tracelog": "a",
        "dataEncryption": "d", "events": "s", "audit": "c", "access": "r", "signInRules": "i", "retention": "t",
    ]

    /// The pages that the person may open, in order: the path, and the message key of its name.
    static func items(_ visit: Visit) -> [(path: String, text: String)] { pages(visit).flatMap(\.1) }

    private static func pages(_ visit: Visit) -> [(String?, [(path: String, text: String)])] {
        guard visit.signed != nil else { return [] }
        let mail: [EntityDefinition] = [.mailbox, .emailServerProfile, .queue, .userSettings, .email, .traceLog]
        var groups: [(String?, [(path: String, text: String)])] = [
            (nil, [("overview", "overview")]),
            (
                "mail", mail.filter { mayList($0, visit.roles) }.map { ("records/\($0.entitySetName)", $0.logicalName) }
            ),
        ]
        if visit.isAdministrator {
            groups.append(
                (
                    "security",
                    [
                        ("settings/data-encryption", "dataEncryption"), ("settings/approvals", "approvals"), ("events", "events"),
                        ("audit", "audit"),
                    ]
                ))
            groups.append(
                ("administration", [("access", "access"), ("access/rules", "signInRules"), ("retention", "retention")]))
        }
        return groups.filter { !$0.1.isEmpty }
    }

    static func groups(_ visit: Visit) -> [[String: Any]] {
        var path = visit.request.uri.path.dropFirst(visit.root.count + 1)
        // Pages that are reached from a list belong to the list in the menu.
        if let list = ["compose": "records/emails", "connect": "records/mailboxes"][String(path)] { path = Substring(list) }
        // If two paths match, the longer one is the current page.
        let current = items(visit).map(\.path).filter { path == $0 || path.hasPrefix("\($0)/") }.max { $0.count < $1.count }
        return pages(visit).map { name, items in
            var group: [String: Any] = [
                "items": items.map { path, text -> [String: Any] in
                    [
                        "href": "\(visit.root)/\(path)", "text": visit.text(text), "key": keys[text] ?? "",
                        "current": current == path,
                    ]
                }
            ]
            group["group"] = orFalse(name.map { visit.text($0) })
            return group
        }
    }
}
