import Foundation
import Model
import Records
import Tenancy

/// A predefined view of a list, as the query of the list's address.
struct ListView {
    /// The end of the message key of the view's name, such as `mailbox.stale`.
    let key: String
    let query: String

    /// The values of the template for the menu of an entity's views.
    static func menu(_ entity: EntityDefinition, _ visit: Visit) -> [[String: Any]] {
        let current = Set(visit.queries.filter { isPart($0.name) && !$0.value.isEmpty }.map { "\($0.name)=\($0.value)" })
        let allowed = Set(ColumnFilter.all(of: entity, for: visit.roles).map(\.name) + ["status", "answer"])
        return RecordLayout.of(entity).views.compactMap { view in
            let parts = view.query.split(separator: "&").map(String.init)
            guard parts.allSatisfy({ allowed.contains(String($0.prefix { $0 != "=" })) }) else { return nil }
            return [
                "text": visit.text("view:\(view.key)"), "href": "\(visit.root)/records/\(entity.entitySetName)?\(view.query)",
                "current": Set(parts) == current,
            ]
        }
    }

    private static func isPart(_ name: String) -> Bool {
        name.hasPrefix(ColumnFilter.prefix) || ["q", "status", "of", "answer"].contains(name)
    }
}
