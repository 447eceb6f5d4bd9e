import Foundation
import Model
import Records
import Tenancy

// The record whose related records a list shows. The page names this record, and has a link that removes the condition.
extension Console {
    /// The kind of record that the parameter `of` of a list names.
    static func filterTarget(of entity: EntityDefinition) -> EntityDefinition? {
        switch entity.logicalName {
        case "email", "tracelog": .mailbox
        case "mailbox": .emailServerProfile
        default: nil
        }
    }

    /// The values of the template `chip`; false if the person can read no record with this id.
    ///
    /// - Parameter parameter: The parameter of the address that holds the id.
    func chip(_ parameter: String, _ targets: [EntityDefinition], _ id: UUID, _ visit: Visit) async throws -> Any {
        let session = try visit.session()
        for target in targets {
            guard let name = try await RecordNames([target.logicalName: [id]], session)[id] else { continue }
            let address = visit.address(with: [parameter: nil, "page": nil, "before": nil])
            return [
                "kind": visit.text("entity:\(target.logicalName)"), "name": name, "href": address,
                "remove": visit.text("removeFilter"),
            ]
        }
        return false
    }
}
