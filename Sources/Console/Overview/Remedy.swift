import Diagnostics
import Foundation

/// What a person can do about a finding: the page of this console, and its button.
struct Remedy {
    let path: String
    /// The key of the button's text.
    let button: String

    private init(_ path: String, _ button: String) {
        self.path = path
        self.button = button
    }

    private static let access = Remedy("access", "reviewAccess")
    private static let key = Remedy("settings/data-encryption", "toKey")
    private static let change = Remedy("settings/data-encryption/change", "changeKey")
    private static let approvals = Remedy("settings/approvals", "approvals")
    private static let events = Remedy("events", "showEvents")
    private static let mailboxes = Remedy("records/mailboxes", "showThem")

    /// The pages by the codes of findings. A finding without a page is solved on the server.
    static let pages: [String: Remedy] = [
        "key-required": Remedy("settings/data-encryption", "activate"),
        "key-never-copied": Remedy("settings/data-encryption", "keepCopy"), "key-overdue": change, "key-row-changed": change,
        "key-derivation-changed": change, "dead-change": change, "key-row-missing": key, "key-not-attested": key,
        "retired-key-in-force": key,
        "old-generation": key, "client-not-made-here": access, "client-key-not-made-here": access, "secret-not-made-here": access,
        "session-not-made-here": access, "recovery-code-not-made-here": access, "row-not-made-here": access,
        "row-put-back": access, "role-not-given-here": access, "attested-rows-missing": access, "user-not-made-here": access,
        "revocation-undone": access, "approval-not-made-here": approvals, "key-control-changed": approvals,
        "events-refused": Remedy("events?kind=event+refused", "showEvents"),
        "events-lost": Remedy("events?kind=event+lost", "showEvents"), "event-chain-broken": events, "event-chain-cut": events,
        "audit-changed": events, "audit-doubted": Remedy("events?kind=audit+entries+doubted", "showEvents"),
        "not-audited": Remedy("audit", "audit"),
        "mail-settings-not-authorized": Remedy("records/emailserverprofiles", "reviewProfiles"),
        "passwords-lost": Remedy("records/mailboxes?f.ispasswordset=false", "showThem"),
        "quarantined-cells": Remedy("records/mailboxes?status=failing", "showThem"), "flag-without-cell": mailboxes,
        "cell-without-flag": mailboxes,
    ]

    /// An e-mail to the person who operates the server, with a finding's details.
    static func letter(_ finding: Finding, _ visit: Visit) -> String {
        let subject = visit.text("writeOperatorSubject", ["organization": visit.organization, "finding": visit.text(finding.code)])
        let texts = visit.texts
        let body = "\(finding.code): \(texts.toldFinding(finding.message))\n\n\(texts.toldFinding(finding.advice))"
        func encoded(_ text: String) -> String { text.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? "" }
        return "mailto:?subject=\(encoded(subject))&body=\(encoded(body.replacing("\n", with: "\r\n")))"
    }
}
