import Authentication
import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// What a client proves itself with: its secrets and its keys, and when they end.
extension Console {
    /// Days after which a secret expires, to choose from.
    private static let expiries = [30, 90, 180, 365, 730]
    /// Hours for which the former secret is accepted, to choose from.
    private static let overlaps = [0, 1, 24, 72, 168, 720]
    private static let hourSeconds = 3_600

    /// The values of the template for a client's secrets and keys.
    func secretValues(_ entry: ClientRegistry.Entry, _ visit: Visit) -> [String: Any] {
        let now = Date()
        func state(_ expiresOn: Date?, _ isHonoured: Bool) -> [String: Any] {
            let isOver = expiresOn.map { $0 <= now } ?? false
            return [
                "style": !isHonoured ? "bad" : isOver ? "" : "good",
                "text": visit.text(!isHonoured ? "notHonoured" : isOver ? "expired" : "valid"),
            ]
        }
        // The last secret of a client without keys stays: without it the client could as well be disabled.
        let valid = entry.secrets.filter { $0.expiresOn.map { $0 > now } ?? true }
        let hasOther = valid.count > 1 || !entry.keys.isEmpty
        func expiry(_ date: Date?) -> Any { orFalse(date.map { visit.texts.time($0) }) }
        return [
            "secrets": entry.secrets.map { secret -> [String: Any] in
                [
                    "secretID": secret.id.text, "createdOn": visit.texts.time(secret.createdOn),
                    "expiresOn": expiry(secret.expiresOn),
                    "state": state(secret.expiresOn, secret.isHonoured),
                    "mayEnd": hasOther || !valid.contains { $0.id == secret.id },
                ]
            },
            "hasSecrets": !entry.secrets.isEmpty, "hasKeys": !entry.keys.isEmpty,
            "keys": entry.keys.map { key -> [String: Any] in
                [
                    "kind": key.kind, "print": key.fingerprint, "expiresOn": expiry(key.expiresOn),
                    "state": state(key.expiresOn, key.isHonoured),
                ]
            },
            "overlaps": Self.options(
                Self.overlaps.map { ("\($0)", $0 == 0 ? visit.text("atOnce") : visit.texts.count("hours", $0)) }, chosen: "24"),
            "expiries": expiryOptions(visit),
        ]
    }

    /// When a new secret may expire.
    func expiryOptions(_ visit: Visit) -> [[String: Any]] {
        Self.options(
            [("", visit.text("neverExpires"))] + Self.expiries.map { ("\($0)", visit.texts.count("days", $0)) },
            chosen: visit.form["expires"] ?? "")
    }

    /// Seconds after which a secret expires, as a form chose them; nil for never.
    ///
    /// - Throws: ``FieldsealError`` for what no form offers.
    func expirySeconds(_ visit: Visit) throws(FieldsealError) -> Int? {
        guard let text = visit.form["expires"], !text.isEmpty else { return nil }
        guard let days = Int(text), Self.expiries.contains(days) else { throw FieldsealError.noChoice }
        return days * 24 * Self.hourSeconds
    }

    func overlapSeconds(_ visit: Visit) throws(FieldsealError) -> Int {
        guard let text = visit.form["overlap"] else { return ClientRegistry.overlap }
        guard let hours = Int(text), Self.overlaps.contains(hours) else { throw FieldsealError.noChoice }
        return hours * Self.hourSeconds
    }
}

extension FieldsealError {
    fileprivate static let noChoice = FieldsealError(.invalidArgument, "Choose one of the values that the form offers.")
}
