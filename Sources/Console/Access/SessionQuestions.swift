import Authentication
import CellCrypto
import Foundation
import HTTPTypes
import JSON
import Model
import PostgresClient
import Tenancy

// Asks for confirmation before sessions and links end, records are handed over, or a password is reset.
extension Console {
    /// The question before an action on a person; nil if the action needs none, or after the answer.
    func personQuestion(_ action: String, _ entry: PeopleAdministration.Entry, _ visit: Visit) async throws -> PageResponse? {
        let back = "access/people/\(entry.id.text)"
        switch action {
        case "hand-over-user":
            return try await handOverQuestion(Holder(entry), "access/\(action)", ["id": entry.id.text], back, visit)
        case "withdraw-invitation":
            let link = entry.invitation.map { ["\($0.maker) \($0.end.date.timeIntervalSince1970)"] } ?? []
            return try unanswered(
                ("withdrawLinkTitle", "withdrawLinkWhy", "withdrawLink"), ["name": entry.name], "access/\(action)",
                ["id": entry.id.text], back, about: [entry.id.text] + link, visit)
        case "end-user-sessions":
            return try unanswered(
                ("endSessionsTitle", "endSessionsWhy", "endSessions"), ["name": entry.name], "access/\(action)",
                ["id": entry.id.text], back, about: [entry.id.text], visit)
        case "end-user-session":
            let id = visit.form["session"] ?? ""
            let sessions = try await PeopleAdministration(visit.session()).sessions(of: entry.id)
            guard let session = sessions.first(where: { $0.id == id }) else { return nil }
            return try unanswered(
                ("endSessionTitle", "endSessionWhy", "endSession"),
                ["name": entry.name, "address": session.address.map(EventLines.address) ?? ""], "access/\(action)",
                ["id": entry.id.text, "session": id], back, about: [entry.id.text, id], visit)
        default: return nil
        }
    }

    /// The question before one of a person's own sessions ends; nil after the answer, or if there is no such session.
    func sessionQuestion(_ id: String, _ signed: ConsoleSessions.AuthenticatedUser, _ visit: Visit) async throws -> PageResponse? {
        let running = try await sessions.running(for: signed, token: visit.token ?? "")
        guard let session = running.first(where: { $0.id == id && !$0.isCurrent }) else { return nil }
        return try unanswered(
            ("endSessionTitle", "endSessionWhy", "endSession"),
            ["name": signed.name, "address": session.address.map(EventLines.address) ?? ""], "account/end-session", ["id": id],
            "account", about: [id], visit)
    }

    /// The question before a person signs out everywhere; nil after the answer.
    func everywhereQuestion(_ visit: Visit) throws -> PageResponse? {
        guard visit.form["everywhere"] != nil, let signed = visit.signed else { return nil }
        return try unanswered(
            ("signOutEverywhereTitle", "signOutEverywhereWhy", "signOutEverywhere"), ["name": signed.name], "sign-out",
            ["everywhere": "1"], "account", about: [signed.name], visit)
    }

    // MARK: Resetting a password

    /// The page that asks for a person's new password, and says what else ends when it is set.
    @Sendable func resetPage(_ visit: Visit) async throws -> PageResponse {
        try await resetPage(visit, visit.parameter("id") ?? "")
    }

    func resetPage(_ visit: Visit, _ id: String, problem: String? = nil, status: HTTPResponse.Status = .ok) async throws
        -> PageResponse
    {
        let entry = try await entry(id, visit)
        var more: [String: Any] = ["asksPassword": true]
        more["problem"] = problem
        return question(
            ("resetTitle", "resetPersonWhy", "reset"), ["name": entry.name], "access/reset-user", ["id": entry.id.text],
            "access/people/\(entry.id.text)", visit, more, status: status)
    }

    /// A page that asks for confirmation; nil once the answer confirms this subject.
    ///
    /// - Parameter subject: What exactly is confirmed. If the answer names another subject, because something has changed, the
    ///   question is asked again.
    func unanswered(
        _ texts: (title: String, why: String, button: String), _ names: [String: String], _ path: String,
        _ fields: [String: String], _ back: String, about subject: [String], _ visit: Visit, _ more: [String: Any] = [:]
    ) throws -> PageResponse? {
        let subject = try Self.subject([path] + subject)
        guard visit.form["confirmed"] != subject else { return nil }
        return question(texts, names, path, fields.merging(["confirmed": subject]) { _, new in new }, back, visit, more)
    }

    /// The subject of a question as a text, which its answer repeats.
    static func subject(_ parts: [String]) throws -> String {
        let bytes = parts.flatMap { part in withUnsafeBytes(of: UInt32(part.utf8.count).bigEndian) { Array($0) } + Array(part.utf8)
        }
        return Data(try sha256(bytes)).base64URL
    }

    /// A page that asks for confirmation.
    ///
    /// - Parameters:
    ///   - texts: The keys of the page's title, text and button.
    ///   - path: Where the answer is sent, with the fields.
    ///   - back: Where *Cancel* leads.
    func question(
        _ texts: (title: String, why: String, button: String), _ names: [String: String], _ path: String,
        _ fields: [String: String],
        _ back: String, _ visit: Visit, _ more: [String: Any] = [:], status: HTTPResponse.Status = .ok
    ) -> PageResponse {
        let sent = fields.merging(["confirmed": "1"]) { own, _ in own }.sorted { $0.key < $1.key }
        var values: [String: Any] = [
            "title": visit.text(texts.title, names), "text": visit.text(texts.why, names), "action": "\(visit.root)/\(path)",
            "fields": sent.map { ["name": $0.key, "value": $0.value] }, "button": visit.text(texts.button),
            "back": "\(visit.root)/\(back)",
        ]
        values.merge(more) { _, new in new }
        return .page("confirm", values, status: status)
    }
}
