import Foundation
import Model
import Records
import Tenancy

extension Session {
    /// - Throws: ``FieldsealError`` `.objectDoesNotExist` unless a record's lookup refers to `parent`.
    func requireLink(_ relationship: EntityRelationship, _ member: RecordKey, to parent: UUID) async throws {
        let page = try await retrieve(
            relationship.referencing, member, [.init(.column(.init(relationship.attribute.logicalName)))])
        guard let record = page.records.first, try record.value(page.shape.columns[0]) == .id(parent) else {
            throw FieldsealError(.objectDoesNotExist, "The two records are not linked by \(relationship.collectionProperty).")
        }
    }
}
