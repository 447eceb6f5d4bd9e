import CellCrypto
import Crypto
import Foundation
import Glibc
import JSON
import KeyManagement
import Tenancy

/// The key for the tag of an export: the data key of its cells.
package struct ExportAuthentication: Sendable {
    let key: DataKey
}
