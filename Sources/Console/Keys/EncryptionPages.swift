import CellCrypto
import Foundation
import HTTPTypes
import JSON
import KeyManagement
import Model
import Mustache
import Tenancy

// Security > Data Encryption: shows the state of the key, shows the key, and activates it.
extension Console {
    static let encryptionPath = "settings/data-encryption"

    /// The notices that the page may show about the step before.
    static let encryptionNotices = [
        "freshDone", "changedDone", "activatedDone", "cancelledDone", "keptDone", "cutDone", "goneDone", "keyNotKept",
        "copyNotNoted",
    ]

    @Sendable func encryption(_ visit: Visit) async throws -> PageResponse {
        let done = visit.query("done").flatMap { Self.encryptionNotices.contains($0) ? visit.text($0) : nil }
        return try await encryptionPage(visit, notice: done)
    }

    /// The state of the key in one sentence.
    func keySentence(_ status: EncryptionStatus, _ visit: Visit) -> String {
        let version = "\(status.keyVersion)"
        guard status.isActive else { return visit.text("stateRequired", ["version": version]) }
        let days = Int(max(0, Date().timeIntervalSince(status.setOn) / 86_400))
        let isDue = status.nextChangeDue < Date()
        guard days > 0 || isDue else { return visit.text("stateToday", ["version": version]) }
        return visit.text(isDue ? "stateDue" : "stateActive", ["version": version, "age": visit.texts.count("days", days)])
    }

    func encryptionPage(
        _ visit: Visit, notice: String? = nil, problem: String? = nil, typed: String = "", status code: HTTPResponse.Status = .ok
    ) async throws -> PageResponse {
        let session = try visit.session()
        let keys = try await KeyAdministration(session, to: .see)
        let status = try await keys.encryptionStatus()
        let history = try await keys.keyHistory()
        let progress = try await keys.keyChangeProgress()
        let missing = try await keys.missingKeys()
        let texts = visit.texts
        let isDue = status.isActive && status.nextChangeDue < Date()
        let age = max(0, Date().timeIntervalSince(status.setOn))
        let sentence = keySentence(status, visit)
        let badge: String = !status.isActive ? "bad" : isDue ? "warn" : "good"
        let stateClass: String = !status.isActive ? "required" : isDue ? "due" : "good"
        let chart: String? =
            status.isActive ? Charts.share(age / KeyPolicy.keyLifetime, style: isDue ? "warn" : "good", alternative: sentence) : nil
        let isNeverCopied: Bool = status.isActive && status.copiedOn == nil
        let steps = history.enumerated().map { index, entry in step(entry, isNewest: index == 0, visit) }
        var values: [String: Any] = [
            "title": visit.text("dataEncryption"), "active": status.isActive,
            "state": visit.text(status.isActive ? "active" : "keyRequired"),
            "badge": badge, "stateClass": stateClass,
            "sentence": sentence, "keyVersion": status.keyVersion, "fingerprint": status.fingerprint,
            "setOn": texts.time(status.setOn), "nextDue": texts.dayTime(status.nextChangeDue),
            "chart": orFalse(chart), "origin": visit.text("origin:\(status.origin ?? "none")"), "isNeverCopied": isNeverCopied,
            "copiedOn": orFalse(status.copiedOn.map { texts.time($0) }),
            "history": steps,
            "hasHistory": !history.isEmpty, "missing": missing.map { texts.missingKey($0) }, "hasMissing": !missing.isEmpty,
            "typed": typed, "progress": orFalse(progress.map { running($0, visit) }),
        ]
        // If a copy has been noted meanwhile, the notice that no copy was noted would be wrong.
        values["notice"] = visit.query("done") == "copyNotNoted" && !isNeverCopied ? nil : notice
        values["problem"] = problem
        return .page("encryption", values, status: code)
    }

    private func step(_ entry: KeyHistoryEntry, isNewest: Bool, _ visit: Visit) -> [String: Any] {
        let isCurrent = isNewest && entry.retiredOn == nil
        let facts: [String?] = [
            visit.text("origin:\(entry.origin)"), entry.cells.map { visit.texts.count("values", $0) },
            entry.duration.map { visit.texts.seconds($0) },
        ]
        return [
            "isCurrent": isCurrent, "title": visit.text("keyNumber", ["version": "\(entry.keyVersion)"]),
            "status": visit.text(entry.purgedOn != nil ? "purged" : entry.retiredOn != nil ? "retired" : "current"),
            "style": isCurrent ? "good" : "", "fingerprint": entry.fingerprint, "createdOn": visit.texts.time(entry.createdOn),
            "by": ActorName.shown(entry.createdBy, visit.texts), "facts": facts.compactMap { $0 }.joined(separator: " · "),
        ]
    }

    private func running(_ progress: KeyChangeProgress, _ visit: Visit) -> [String: Any] {
        [
            "text": progressText(progress, visit), "by": ActorName.shown(progress.startedBy, visit.texts),
            "percent": orFalse(progress.percent.map { "\($0)" }),
        ]
    }

    private func progressText(_ progress: KeyChangeProgress, _ visit: Visit) -> String {
        visit.text(
            "progress",
            ["phase": visit.text("phase:\(progress.phase.rawValue)"), "values": visit.texts.count("values", progress.cells)])
    }

    @Sendable func progress(_ visit: Visit) async throws -> PageResponse {
        guard let progress = try await KeyAdministration(visit.session(), to: .see).keyChangeProgress() else {
            return .json(["running": false])
        }
        return .json([
            "running": true, "text": .string(progressText(progress, visit)),
            "percent": progress.percent.map { .integer(Int64($0)) } ?? .null,
        ])
    }

    // MARK: The key

    @Sendable func showKey(_ visit: Visit) async throws -> PageResponse {
        if let reply = try await requireReauthentication(visit, for: "\(Self.encryptionPath)/key") { return reply }
        let session = try visit.session()
        let status = try await KeyAdministration(session, to: .see).encryptionStatus()
        // A file counts as a copy of the key at once. A key on a page counts as copied when the person says so.
        let isFile = visit.form["sheet"] == "file"
        let key = try await KeyAdministration(session, to: .read).retrieveDataEncryptionKey(isCopy: isFile)
        let proof: Any = status.copiedOn == nil ? try copyProof(visit).sealed(status.fingerprint, for: "copy") : false
        return try key.withString { text in
            guard visit.form["sheet"] != nil else {
                return .page("key", ["title": visit.text("keyShown"), "key": text, "proof": proof])
            }
            var values = try RecoverySheet(visit: visit, baseURL: baseURL).values(text, status, session.organization)
            values["proof"] = proof
            guard isFile else { return .page("sheet", values) }
            // The style is in the file itself, so that the file looks and prints the same everywhere.
            values["style"] = String(decoding: files.style, as: UTF8.self)
            let page = files.templates.render(values.merging(visit.common()) { own, _ in own }, withTemplate: "sheet-file") ?? ""
            return PageResponse(
                content: .download(
                    name: "\(session.organization.name)-key-\(status.keyVersion).html", type: "text/html; charset=utf-8",
                    Array(page.utf8)))
        }
    }

    /// Seals which key a page has shown, so that only a person who has seen the key can say that there is a copy.
    private func copyProof(_ visit: Visit) throws -> KeptSecrets {
        try KeptSecrets(
            deployment.kek, organization: visit.session().organization.id, form: "keycopy", record: nil, token: visit.token ?? "")
    }

    @Sendable func confirmCopy(_ visit: Visit) async throws -> PageResponse {
        let fingerprint = try visit.form["proof"].flatMap { try copyProof(visit).opened($0, for: "copy") }
        guard let fingerprint, try await KeyAdministration(visit.session(), to: .read).confirmCopy(of: fingerprint) else {
            return try await encryptionPage(visit, problem: visit.text("keptTooLate"), status: .badRequest)
        }
        return .redirect("\(visit.root)/\(Self.encryptionPath)?done=keptDone")
    }

    @Sendable func acceptMissingKeys(_ visit: Visit) async throws -> PageResponse {
        let keys = try await KeyAdministration(visit.session(), to: .purge)
        let missing = try await keys.missingKeys()
        let names = missing.map { "\($0.version) \($0.fingerprint)" }.joined(separator: ",")
        // If the keys are no longer those that the person saw, the question is asked again.
        guard visit.form["confirmed"] != nil, visit.form["keys"] == names else {
            return question(
                ("keysMissingTitle", "keysMissingAsk", "keysMissingAccept"),
                ["versions": missing.map { "\($0.version)" }.joined(separator: ", ")], "\(Self.encryptionPath)/gone",
                ["keys": names], Self.encryptionPath, visit)
        }
        if let reply = try await requireReauthentication(visit, for: "\(Self.encryptionPath)/gone") { return reply }
        try await keys.accept(missing)
        return .redirect("\(visit.root)/\(Self.encryptionPath)?done=goneDone")
    }

    // MARK: Activating

    @Sendable func activate(_ visit: Visit) async throws -> PageResponse {
        if let reply = try await requireReauthentication(visit, for: "\(Self.encryptionPath)/activate") { return reply }
        guard let text = visit.form["key"], !text.isEmpty else {
            return try await encryptionPage(visit, problem: visit.text("typeKeyAgain"), status: .badRequest)
        }
        do {
            try await KeyAdministration(visit.session(), to: .activate).activate(pasted: text)
            return .redirect("\(visit.root)/\(Self.encryptionPath)?done=activatedDone")
        } catch let error as FieldsealError {
            var problem = visit.texts.told(error.message)
            let wrong = error.code == .restoreCannotDecrypt ? try OrganizationKeyText.linesWithMistakes(in: text) : []
            if !wrong.isEmpty {
                problem += " " + wrong.map { visit.text("lineWrong", ["line": "\($0)"]) }.joined(separator: " ")
            } else if error.code == .restoreCannotDecrypt, let checks = try RecoverySheet.checks(ofTyped: text) {
                // The sheet has the same check characters for each line, so they show the line with the typing error.
                let lines = checks.enumerated().map { visit.text("lineCheck", ["line": "\($0.offset + 1)", "check": $0.element]) }
                problem += " " + visit.text("compareChecks", ["checks": lines.joined(separator: ", ")])
            }
            return try await encryptionPage(visit, problem: problem, typed: text, status: .init(code: error.code.httpStatus))
        }
    }
}

extension Texts {
    /// The line for a key whose row is missing.
    fileprivate func missingKey(_ key: MissingKey) -> [String: Any] {
        ["title": text("keyNumber", ["version": "\(key.version)"]), "fingerprint": key.fingerprint]
    }
}
