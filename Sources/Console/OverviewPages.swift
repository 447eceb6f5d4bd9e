import Fieldseal
import Foundation
import HTTPTypes

// The overview, the security events, and who has access.
extension Console {
    private static let eventPageSize = 200

    @Sendable func overview(_ visit: Visit) async throws -> Reply {
        let session = try visit.session()
        let isAdministrator = session.caller.role == .systemAdministrator
        var values: [String: Any] = ["title": visit.text("overview"), "mayInspect": isAdministrator]
        var findings: [[String: Any]] = []
        if isAdministrator {
            findings = try await doctor.findings(of: session.organization).map { finding in
                var values: [String: Any] = [
                    "severity": finding.severity.rawValue, "text": visit.text(finding.code), "message": finding.message,
                    "advice": finding.advice,
                ]
                // What this console mends itself.
                if let path = Self.remedies[finding.code] { values["href"] = "\(visit.root)/\(path)" }
                return values
            }
            let kind = visit.query("kind").flatMap { SecurityEvent.Kind(rawValue: $0.replacing("+", with: " ")) }
            let events = try await session.newestSecurityEvents(
                kind: kind?.rawValue, before: visit.query("before").flatMap { Int($0) }, limit: Self.eventPageSize)
            if events.count == Self.eventPageSize, let last = events.last {
                let filter = kind.map { "&kind=\($0.rawValue.replacing(" ", with: "+"))" } ?? ""
                values["next"] = "\(visit.root)/overview?before=\(last.id)\(filter)"
            }
            values["kinds"] = SecurityEvent.Kind.allCases.map(\.rawValue).sorted().map {
                ["text": $0, "selected": $0 == kind?.rawValue] as [String: Any]
            }
            values["events"] = events.map { event -> [String: Any] in
                [
                    "when": visit.moment(event.occurredOn), "kind": event.kind, "outcome": event.outcome, "actor": event.actor,
                    "address": event.address ?? "", "details": event.details ?? "",
                ]
            }
        }
        if PrivilegeTable.depth(of: .retrieveMultiple, on: .mailbox, for: session.caller.role) != .none {
            let failed = try await session.count(
                .mailbox,
                .any([
                    .compare(.init("incomingemailstatus"), .equal, .number("2")),
                    .compare(.init("outgoingemailstatus"), .equal, .number("2")),
                ]))
            if failed > 0 {
                findings.append([
                    "severity": "warning", "text": "\(failed) \(visit.text("attentionMailboxes"))",
                    "href": "\(visit.root)/records/mailboxes",
                ])
            }
        }
        values["findings"] = findings
        return .page("overview", values)
    }

    private static let remedies = [
        "key-required": "settings/data-encryption", "key-never-copied": "settings/data-encryption",
        "key-overdue": "settings/data-encryption",
        "client-not-made-here": "access", "user-not-made-here": "access",
    ]

    @Sendable func exportEvents(_ visit: Visit) async throws -> Reply {
        let session = try visit.session()
        await session.linkPendingEvents()
        // What is refused is refused before the first byte.
        let first = try await session.securityEvents(limit: 1_000)
        return Reply(
            content: .stream(name: "\(session.organization.name)-events.jsonl", type: "application/jsonl") { write in
                var page = first
                while let newest = page.last {
                    try await write(page.flatMap { $0.json(session.organization.name).utf8 + [UInt8(ascii: "\n")] })
                    page = try await session.securityEvents(after: newest.id, limit: 1_000)
                }
                let end: JSONValue = [
                    "organization": .string(session.organization.name), "attested": await session.attestedEnd(),
                ]
                try await write(end.utf8 + [UInt8(ascii: "\n")])
            })
    }

    @Sendable func access(_ visit: Visit) async throws -> Reply { .page("access", try await accessValues(visit)) }

    private func accessValues(_ visit: Visit) async throws -> [String: Any] {
        let session = try visit.session()
        func status(_ isHonoured: Bool, _ disabledOn: Date?) -> String {
            visit.text(!isHonoured ? "notHonoured" : disabledOn == nil ? "enabled" : "disabled")
        }
        return [
            "title": visit.text("access"),
            "people": try await ConsoleUsers(deployment).list(by: session).map { entry -> [String: Any] in
                [
                    "name": entry.name, "role": entry.role, "status": status(entry.isHonoured, entry.disabledOn),
                    "isEnabled": entry.disabledOn == nil,
                ]
            },
            "clients": try await session.clients().map { entry -> [String: Any] in
                [
                    "name": entry.name, "id": entry.id.uuidString.lowercased(), "role": entry.role,
                    "status": status(entry.isHonoured, entry.disabledOn), "isEnabled": entry.disabledOn == nil,
                ]
            },
            "roles": Role.allCases.filter { $0 != .emailRouter }.map(\.rawValue), "clientRoles": Role.allCases.map(\.rawValue),
        ]
    }

    @Sendable func changeAccess(_ visit: Visit) async throws -> Reply {
        if let reply = try await requireFresh(visit) { return reply }
        let session = try visit.session()
        let users = ConsoleUsers(deployment)
        let name = visit.form["name"] ?? ""
        let role = Role(rawValue: visit.form["role"] ?? "") ?? .basicUser
        do {
            switch visit.parameter("action") {
            case "add-user": _ = try await users.add(name: name, password: visit.form["password"] ?? "", role: role, by: session)
            case "disable-user": try await users.disable(name, by: session)
            case "reset-user": try await users.reset(name, password: visit.form["password"] ?? "", by: session)
            case "disable-client": try await session.disableClient(name)
            case "add-client":
                let (id, secret) = try await session.addClient(name: name, role: role)
                var values = try await accessValues(visit)
                values["secretTitle"] = name
                values["secretID"] = id.uuidString.lowercased()
                values["secret"] = secret
                return .page("access", values)
            default: throw FieldsealError(.noResource, "There is nothing at this address.")
            }
        } catch let error as FieldsealError where error.code != .privilegeDenied && error.code != .noResource {
            var values = try await accessValues(visit)
            let wasTyped = visit.form["password"]?.isEmpty == false
            values["problem"] = error.message + (wasTyped ? " \(visit.text("typePasswordAgain"))" : "")
            return .page("access", values, status: .init(code: error.code.httpStatus))
        }
        return .redirect("\(visit.root)/access")
    }
}
