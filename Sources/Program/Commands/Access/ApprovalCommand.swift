import ArgumentParser
import Foundation
import JSON
import Tenancy

/// The command `approval`, for requests that a second System Administrator has to approve.
struct ApprovalCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approval",
        abstract: "List, approve and refuse requests that need a second System Administrator.",
        discussion: """
            An organization asks for approvals after: fieldseal key control --approval 1h. A request is approved by another System \
            Administrator than the one that made it. A request that the command line made is approved in the console or with the \
            Web API.
            """,
        subcommands: [List.self, Approve.self, Refuse.self])

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the requests that are open or approved.",
            example: "approval list --org contoso")
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let approvals = try await ApprovalAdministration(organization.session(options), to: .see).list()
            options.report(
                .array(
                    approvals.map { approval in
                        [
                            "approvalId": .string(approval.id.text), "operation": .string(approval.operation),
                            "subject": .string(approval.subject), "requestedBy": .string(approval.requester),
                            "address": .text(approval.address), "requestedOn": .string(ISO8601.text(approval.createdOn)),
                            "openUntil": .string(ISO8601.text(approval.expiresOn)), "approvedBy": .text(approval.approver),
                        ]
                    }),
                approvals.isEmpty ? "No request is open." : approvals.map(Self.text).joined(separator: "\n"))
        }

        private static func text(_ approval: Approval) -> String {
            """
            \(approval.id.text)  \(approval.subject)
                asked by \(approval.requester)\(approval.address.map { " from \($0)" } ?? "") on \(ISO8601.text(approval.createdOn)), \
            open until \(ISO8601.text(approval.expiresOn))\(approval.approver.map { ", approved by \($0)" } ?? "")
            """
        }
    }

    struct Approve: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Approve a request. The client or person that made it can then repeat the operation, once.",
            example: "approval approve 7c4a8d09-0000-4000-8000-000000000001 --org contoso")
        @Argument(help: "The request's id, as approval list shows it.") var id: String
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func validate() throws { _ = try approvalID(id) }

        func run() async throws {
            try await ApprovalAdministration(organization.session(options), to: .approve).approve(try approvalID(id))
            options.report(["approved": .string(id)], "Approved \(id).")
        }
    }

    struct Refuse: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Refuse a request, or withdraw an approval.",
            example: "approval refuse 7c4a8d09-0000-4000-8000-000000000001 --org contoso")
        @Argument(help: "The request's id, as approval list shows it.") var id: String
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func validate() throws { _ = try approvalID(id) }

        func run() async throws {
            try await ApprovalAdministration(organization.session(options), to: .refuse).refuse(try approvalID(id))
            options.report(["refused": .string(id)], "Refused \(id).")
        }
    }
}

private func approvalID(_ text: String) throws -> UUID {
    guard let id = UUID(text: text) else {
        throw ValidationError("\(text) is not the id of a request. `fieldseal approval list` shows the ids.")
    }
    return id
}

extension Key {
    struct Control: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show or set the rules for showing and changing the key.",
            discussion: """
                With --approval, a second System Administrator has to approve each operation within the given time. With --sign-in, \
                clients may use the key messages of the Web API for the given time after they signed in. A less strict rule needs the \
                approval of a second System Administrator too.
                """,
            example: "key control --org contoso --approval 1h --sign-in 15m")
        @Option(help: ArgumentHelp("Time for an approval, such as 10m, or off.", valueName: "time")) var approval: String?
        @Option(help: ArgumentHelp("Time after a client's sign-in, such as 5m, or off.", valueName: "time")) var signIn: String?
        @OptionGroup var organization: OrganizationOption
        @OptionGroup var options: CommandOptions

        func run() async throws {
            let session = try await organization.session(options)
            var control = try await KeyControlAdministration(session, to: .see).current()
            if let approval { control.approvalSeconds = try Self.seconds(approval, "--approval") }
            if let signIn { control.signInSeconds = try Self.seconds(signIn, "--sign-in") }
            if approval != nil || signIn != nil { try await KeyControlAdministration(session, to: .set).set(control) }
            func number(_ value: Int?) -> JSONValue { value.map { .integer(Int64($0)) } ?? .null }
            options.report(
                ["approvalSeconds": number(control.approvalSeconds), "signInSeconds": number(control.signInSeconds)],
                "\(session.organization.name) asks for: \(control.words).")
        }

        private static func seconds(_ text: String, _ option: String) throws -> Int? {
            if text == "off" { return nil }
            guard let seconds = Quantity.number(text, in: .seconds) else {
                throw ValidationError("\(option) takes off or \(Quantity.Unit.seconds.words).")
            }
            return seconds
        }
    }
}
