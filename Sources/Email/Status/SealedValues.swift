import Foundation
package import Model
import PostgresClient
import Records
import Tenancy

/// How many encrypted values an attribute has.
package struct SealedValues: Sendable {
    package let entity: EntityDefinition
    package let attribute: AttributeDefinition
    package let records: Int
    package let values: Int
}
