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

/// Reads a secret: from a file whose mode is checked, from a terminal without echo, or from standard input.
enum SecretInput {
    static func read(prompt: String, file: String?) throws -> String {
        if let file {
            let mode = try FileManager.default.attributesOfItem(atPath: file)[.posixPermissions] as? Int ?? 0o777
            guard mode & 0o077 == 0 else {
                throw CommandFailure("Others may read \(file) (mode \(String(mode, radix: 8))): chmod 0400 \(file).")
            }
            return try firstLine(String(contentsOfFile: file, encoding: .utf8), prompt)
        }
        guard isatty(STDIN_FILENO) == 1 else { return try firstLine(Swift.readLine(strippingNewline: true) ?? "", prompt) }
        guard let text = getpass("\(prompt): ") else { throw CommandFailure("Nothing was typed.") }
        return try firstLine(String(cString: text), prompt)
    }

    private static func firstLine(_ text: String, _ prompt: String) throws -> String {
        let line = text.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false).first.map(String.init) ?? ""
        guard !line.isEmpty else { throw CommandFailure("The \(prompt.lowercased()) is empty. Nothing was changed.") }
        guard !line.utf8.contains(0) else {
            throw CommandFailure(
                "The \(prompt.lowercased()) has the character U+0000, which no text may hold. Nothing was changed.")
        }
        return line.hasSuffix("\r") ? String(line.dropLast()) : line
    }
}
