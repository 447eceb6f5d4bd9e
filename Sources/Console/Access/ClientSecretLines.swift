import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// The secrets and keys of a client, with their expiry.
extension Console {
    /// The offered lifetimes of a secret in days.
    private static let expiries = [30, 90, 180, 365, 730]
    /// The offered hours for which the previous secret is accepted.
    private static let overlaps = [0, 1, 24, 72, 168, 720]
    private static let hourSeconds = 3_600

    /// The values of the template for a client's secrets and keys.
    func secretValues(_ entry: ClientAdministration.Entry, _ visit: Visit) -> [String: Any] {
        let now = Date()
        func state(_ expiresOn: Date?, _ isAuthentic: Bool) -> [String: Any] {
            let isOver = expiresOn.map { $0 <= now } ?? false
            return [
                "style": !isAuthentic ? "bad" : isOver ? "" : "good",
                "text": visit.text(!isAuthentic ? "notHonoured" : isOver ? "expired" : "valid"),
            ]
        }
        // The last valid secret of a client without keys can't be removed. The client can be disabled instead.
        let valid = entry.secrets.filter { $0.expiresOn.map { $0 > now } ?? true }
        let hasOther = valid.count > 1 || !entry.keys.isEmpty
        func expiry(_ date: Date?) -> Any { orFalse(date.map { visit.texts.time($0) }) }
        return [
            "secrets": entry.secrets.map { secret -> [String: Any] in
                [
                    "secretID": secret.id.text, "createdOn": visit.texts.time(secret.createdOn),
                    "expiresOn": expiry(secret.expiresOn),
                    "state": state(secret.expiresOn, secret.isAuthentic),
                    "mayEnd": hasOther || !valid.contains { $0.id == secret.id },
                ]
            },
            "hasSecrets": !entry.secrets.isEmpty, "hasKeys": !entry.keys.isEmpty,
            "keys": entry.keys.map { key -> [String: Any] in
                [
                    "kind": key.kind, "print": key.fingerprint, "expiresOn": expiry(key.expiresOn),
                    "state": state(key.expiresOn, key.isAuthentic),
                ]
            },
            "overlaps": Self.options(
                Self.overlaps.map { ("\($0)", $0 == 0 ? visit.text("atOnce") : visit.texts.count("hours", $0)) }, chosen: "24"),
            "expiries": expiryOptions(visit),
        ]
    }

    /// The offered lifetimes of a new secret.
    func expiryOptions(_ visit: Visit) -> [[String: Any]] {
        Self.options(
            [("", visit.text("neverExpires"))] + Self.expiries.map { ("\($0)", visit.texts.count("days", $0)) },
            chosen: visit.form["expires"] ?? "")
    }

    /// Asks for confirmation before a secret ends at once; nil if no secret ends, or if the answer was given.
    func secretQuestion(_ action: String, _ id: UUID, _ visit: Visit) async throws -> PageResponse? {
        guard ["end-secret-client", "rotate-client"].contains(action),
            let client = try await ClientAdministration(visit.session()).list().first(where: { $0.id == id })
        else { return nil }
        if action == "rotate-client" { _ = (try overlapSeconds(visit), try expirySeconds(visit)) }
        let valid = client.secrets.filter { $0.expiresOn.map { $0 > Date() } ?? true }
        let texts: (title: String, why: String, button: String)
        if action == "end-secret-client" {
            guard client.secrets.contains(where: { $0.id.text == visit.form["secret"] }) else { return nil }
            texts = ("endSecretTitle", "endSecretWhy", "endSecretNow")
        } else if visit.form["overlap"] == "0" {
            texts = ("rotateAtOnceTitle", "rotateAtOnceWhy", "rotateAtOnceNow")
        } else if valid.count > 1 {
            // At most two secrets are valid at a time, so the older of the two ends at once.
            texts = ("rotateThirdTitle", "rotateThirdWhy", "rotateThirdNow")
        } else {
            return nil
        }
        let fields = visit.form.filter { ["id", "secret", "overlap", "expires"].contains($0.key) }
        let about = fields.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] } + valid.map(\.id.text).sorted()
        return try unanswered(
            texts, ["name": client.name], "access/\(action)", fields, "access/clients/\(id.text)", about: about, visit)
    }

    /// The lifetime of a secret in seconds, from a form; nil for no expiry.
    ///
    /// - Throws: ``FieldsealError`` for a value that the form does not offer.
    func expirySeconds(_ visit: Visit) throws(FieldsealError) -> Int? {
        guard let text = visit.form["expires"], !text.isEmpty else { return nil }
        guard let days = Int(text), Self.expiries.contains(days) else { throw FieldsealError.noChoice }
        return days * 24 * Self.hourSeconds
    }

    func overlapSeconds(_ visit: Visit) throws(FieldsealError) -> Int {
        guard let text = visit.form["overlap"] else { return ClientAdministration.overlap }
        guard let hours = Int(text), Self.overlaps.contains(hours) else { throw FieldsealError.noChoice }
        return hours * Self.hourSeconds
    }
}

extension FieldsealError {
    fileprivate static let noChoice = FieldsealError(.invalidArgument, "Choose one of the values that the form offers.")
}
