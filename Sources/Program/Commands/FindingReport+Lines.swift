import ArgumentParser
import CellCrypto
import Diagnostics
import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

extension FindingReport {
    func json(_ derivation: PasswordVerifier.Derivation) -> JSONValue {
        [
            "findings": .array(
                findings.map { finding in
                    [
                        "severity": .string(finding.severity.rawValue), "code": .string(finding.code),
                        "subject": .string(finding.subject), "message": .string(finding.message),
                        "advice": .string(finding.advice),
                    ]
                }),
            "totals": .array(
                totals.map { total in
                    [
                        "severity": .string(total.severity.rawValue), "code": .string(total.code),
                        "count": .integer(Int64(total.count)), "omitted": .integer(Int64(total.omitted)),
                    ]
                }),
            "organizations": .integer(Int64(organizations)), "cryptography": Self.cryptography(derivation),
        ]
    }

    var text: String {
        let found = findings
        if found.isEmpty { return "Nothing is wrong." }
        let omitted = totals.filter { $0.omitted > 0 }.map {
            "\($0.severity.rawValue.uppercased())  \($0.omitted) more of \($0.code), \($0.count) in all\n"
                + "  → fieldseal doctor --limit \($0.count), or --org NAME for one organization"
        }
        // Findings contain names from rows, and SQL may have written any text there.
        let lines = found.map { finding in
            let (subject, message) = (finding.subject.asTerminalLine, finding.message.asTerminalLine)
            return "\(finding.severity.rawValue.uppercased())  \(subject): \(message)\n  → \(finding.advice.asTerminalLine)"
        }
        return (lines + omitted)
            .joined(separator: "\n")
    }

    /// The providers of the algorithms for keys, cells and passwords.
    fileprivate static func cryptography(_ derivation: PasswordVerifier.Derivation) -> JSONValue {
        [
            "library": .string(CryptoLibrary.version), "fips": .bool(CryptoLibrary.isFIPSActive),
            "newPasswords": .string(derivation.rawValue),
            "algorithms": .object(CryptoLibrary.sources.map { .init($0.algorithm, .text($0.provider)) }),
        ]
    }

    static func cryptographyLine(_ derivation: PasswordVerifier.Derivation) -> String {
        let providers = CryptoLibrary.sources.map { source in
            "\(source.algorithm) from \(source.provider.map { "the \($0) provider" } ?? "nowhere")"
        }
        return "Cryptography: \(CryptoLibrary.version); the FIPS provider is \(CryptoLibrary.isFIPSActive ? "" : "not ")active; "
            + providers.joined(separator: ", ") + "; new passwords of people are derived with \(derivation.rawValue)"
    }
}
