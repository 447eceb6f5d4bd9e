import Foundation
import Organizations
import PostgresClient
import Subprocess
import SystemPackage

/// An error of one of PostgreSQL's programs, with its message.
struct ToolError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}
