import Model
import Records

/// Conditions on linked records, which are Dataverse's link types within a filter.
enum LinkCondition: String, CaseIterable {
    case any
    case notAny = "not any"
    case all
    case notAll = "not all"

    /// - Throws: ``FieldsealError`` `.queryDoesNotFit` for `all` without a filter, which Dataverse does not document.
    func filter(_ link: RecordQuery.Link) throws(FieldsealError) -> Filter {
        switch self {
        // Dataverse documents `not all` as equivalent to `any`, despite its name.
        case .any, .notAll: return .exists(link, negated: false)
        case .notAny: return .exists(link, negated: true)
        case .all:
            guard link.filter != nil else {
                throw FieldsealError(.queryDoesNotFit, "A link of the type all must have a filter.")
            }
            // Dataverse documents `all` as: a linked record exists, and none matches the filter.
            var linked = link
            linked.filter = nil
            return .all([.exists(linked, negated: false), .exists(link, negated: true)])
        }
    }
}
