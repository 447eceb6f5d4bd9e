import ArgumentParser
import Foundation
import JSON
import KeyManagement
import Organizations
import Tenancy

/// Opens every cell.
struct Verify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Open every cell of one or all organizations. If cells do not open, print their addresses and exit 1.",
        example: "verify --org contoso")
    @OptionGroup var organizations: OrganizationsOption
    @OptionGroup var options: CommandOptions

    func run() async throws { try await options.inDatabases(of: organizations.name, look) }

    @Sendable private func look(_ options: CommandOptions) async throws {
        let (deployment, _) = try await options.deployment()
        let names =
            if let name = organizations.name { [name] } else {
                try await OrganizationEntry.list(deployment).map(\.organization.name)
            }
        var failed = false
        for name in names {
            do {
                let session = try await organizations.session(of: name, deployment, isInspection: false)
                let bar = ProgressBar()
                let report = try await KeyAdministration(session, to: .verify).verifyCells(
                    onProgress: options.json || DatabaseReports.current != nil ? nil : bar.show)
                bar.end()
                failed = failed || !report.isClean
                options.report(report.json, report.text)
            } catch {
                // If one organization has a problem, the other organizations are still verified.
                failed = true
                let words = try options.words(for: error)
                options.report(["organization": .string(name), "error": .string(words)], "\(name): \(words)")
            }
        }
        if failed { throw ExitCode.failure }
    }
}

extension VerificationReport {
    fileprivate var json: JSONValue {
        [
            "organization": .string(organization), "keyVersion": .integer(Int64(keyVersion)), "cells": .integer(Int64(cells)),
            "bad": .array(
                bad.map { ["address": .string($0.address), "cause": .string($0.cause.rawValue), "origin": .text($0.origin)] }),
            "mismatches": .array(mismatches.map { ["address": .string($0.address), "problem": .string($0.description)] }),
        ]
    }

    fileprivate var text: String {
        let head = "\(organization): \(cells) cells under key version \(keyVersion), "
        let flags = mismatches.map { "\n  \($0.address): \($0.description)" }.joined()
        if bad.isEmpty { return head + "all of them open" + flags }
        return head + "\(bad.count) of them do not open:\n"
            + bad.map { "  \($0.address): \($0.origin.map { "this is the cell of \($0)" } ?? $0.cause.rawValue)" }.joined(
                separator: "\n") + flags
    }
}
