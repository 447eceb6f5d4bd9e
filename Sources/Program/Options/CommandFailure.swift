import ArgumentParser
import CellCrypto
import Foundation
import Glibc
import JSON
import Logging
import Model
import Organizations
import PostgresClient
import Tenancy

/// The reason for which a command failed, if its arguments were right.
struct CommandFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
