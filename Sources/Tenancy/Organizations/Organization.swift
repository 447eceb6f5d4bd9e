import CellCrypto
package import Foundation
import Migrations
import PostgresClient

/// An organization of the deployment.
package struct Organization: Sendable, Hashable {
    package let id: UUID
    package let name: String
    package let schema: String

    package init(id: UUID, name: String) {
        self.id = id
        self.name = name
        schema = Self.schema(of: name)
    }

    /// The schema of an organization: `org_` and the name, with `_` for `-`.
    package static func schema(of name: String) -> String { "org_\(name.replacing("-", with: "_"))" }

    /// Whether a name is `[a-z][a-z0-9-]{0,38}`.
    package static func isName(_ name: String) -> Bool { isName(name[...]) }

    /// Whether a part of a text is an organization's name.
    package static func isName(_ name: Substring) -> Bool {
        let bytes = name.utf8
        guard let first = bytes.first, (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(first), bytes.count <= 39 else {
            return false
        }
        return bytes.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || $0 == UInt8(ascii: "-")
        }
    }

    /// A table or sequence of the organization, as SQL writes it.
    package func qualified(_ name: String) -> String { "\(quoteIdentifier(schema)).\(quoteIdentifier(name))" }
}
