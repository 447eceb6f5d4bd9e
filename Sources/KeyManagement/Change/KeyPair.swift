package import CellCrypto
import Foundation
import Model

/// The old key and the new one, with their versions.
package struct KeyPair: Sendable {
    package let oldVersion: Int
    package let old: DataKey
    package let newVersion: Int
    package let new: DataKey

    package init(oldVersion: Int, old: DataKey, newVersion: Int, new: DataKey) {
        self.oldVersion = oldVersion
        self.old = old
        self.newVersion = newVersion
        self.new = new
    }
}
