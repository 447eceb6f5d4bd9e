import CellCrypto
import Foundation
import HTTPTypes
import JSON
import KeyManagement
import Model
import Tenancy

// Changes the key in steps: choose, test, confirm, watch, keep a copy.
extension Console {
    private static let changePath = "\(encryptionPath)/change"

    @Sendable func changePage(_ visit: Visit) async throws -> PageResponse {
        try await changePage(visit, isTyped: visit.query("typed") == "1")
    }

    /// - Parameters:
    ///   - isTyped: Whether a key was typed before. The page does not show the typed key, and an empty field then does not mean a
    ///     generated key.
    ///   - kept: The typed key, sealed for the next step; empty for a generated one; nil before the confirmation.
    private func changePage(
        _ visit: Visit, notice: String? = nil, problem: String? = nil, isTyped: Bool = false, kept: String? = nil,
        rehearsal: [String: Any]? = nil, warning: String? = nil, status code: HTTPResponse.Status = .ok
    ) async throws -> PageResponse {
        let session = try visit.session()
        let status = try await KeyAdministration(session, to: .see).encryptionStatus()
        guard status.isActive else { return .redirect("\(visit.root)/\(Self.encryptionPath)") }
        var values: [String: Any] = [
            "title": visit.text("changeKey"), "lead": visit.text("changeKeyWhy"), "isTyped": isTyped,
            "keyVersion": "\(status.keyVersion)", "isConfirming": kept != nil,
            "kept": orFalse(kept.flatMap { $0.isEmpty ? nil : $0 }),
            "rehearsal": orFalse(rehearsal), "warning": orFalse(warning),
            "isGenerated": kept?.isEmpty == true,
            "confirmText": visit.text(
                kept?.isEmpty == true ? "confirmGenerated" : "confirmChosen",
                ["organization": visit.organization, "from": "\(status.keyVersion)", "to": "\(status.keyVersion + 1)"]),
        ]
        values["notice"] = notice
        values["problem"] = problem
        return .page("key-change", values, status: code)
    }

    @Sendable func strength(_ visit: Visit) async throws -> PageResponse {
        let text = visit.form["key"] ?? ""
        let judgement = KeyJudgement(text, visit.texts)
        return .json(["text": .string(judgement.text), "level": .integer(Int64(judgement.level))])
    }

    /// What the form does.
    private enum KeyChangeStep: String {
        case rehearse, review, change
    }

    @Sendable func changeKey(_ visit: Visit) async throws -> PageResponse {
        guard let step = KeyChangeStep(rawValue: visit.form["do"] ?? "") else {
            throw FieldsealError(.invalidArgument, "The form names no step of a key change. Load the page again.")
        }
        if let reply = try await requireReauthentication(visit, for: Self.changePath) { return reply }
        let session = try visit.session()
        // A confirmation names the key version that it replaces. So a second confirmation, or one from another tab, changes
        // nothing.
        let version = visit.form["version"].flatMap(Int.init)
        let confirms: Bool = visit.form["confirms"] != nil || step == .change
        if confirms, try await KeyAdministration(session, to: .see).encryptionStatus().keyVersion != version {
            return try await changedMeanwhile(visit)
        }
        let secrets = try KeptSecrets(
            deployment.kek, organization: session.organization.id, form: "newkey", record: nil, token: visit.token ?? "")
        let typed = visit.form["key"].flatMap { $0.isEmpty ? nil : $0 }
        let kept = visit.form[KeptSecrets.field("key")].flatMap { $0.isEmpty ? nil : $0 }
        let text = typed ?? kept.flatMap { secrets.opened($0, for: "key") }
        let isTyped = text != nil || kept != nil || visit.form["typed"] == "1"
        guard text != nil || !isTyped else {
            return try await changePage(visit, problem: visit.text("typeKeyAgain"), isTyped: true, status: .badRequest)
        }
        // The field hides the typed key, so a typing mistake would be found only when the key is needed.
        let again = visit.form["again"] ?? ""
        if let typed, again != typed, step == .review || step == .rehearse && !again.isEmpty {
            return try await changePage(visit, problem: visit.text("keysDiffer"), isTyped: true, status: .badRequest)
        }
        let judgement = text.map { KeyJudgement($0, visit.texts) }
        if step != .change, let judgement, !judgement.isAccepted {
            return try await changePage(visit, problem: judgement.text, isTyped: true, status: .badRequest)
        }
        do {
            switch step {
            case .rehearse:
                var figures = rehearsal(try await KeyAdministration(session, to: .rehearse).rehearseKeyChange(), visit)
                guard let text else {
                    return try await changePage(visit, kept: visit.form["confirms"] == nil ? nil : "", rehearsal: figures)
                }
                figures["key"] = orFalse(judgement.map { ["text": $0.text, "style": $0.warning == nil ? "hint" : "warning"] })
                let again = try secrets.sealed(text, for: "key")
                return try await changePage(
                    visit, isTyped: true, kept: visit.form["confirms"] == nil ? nil : again, rehearsal: figures,
                    warning: judgement?.warning)
            case .review:
                guard let text else { return try await changePage(visit, kept: "") }
                return try await changePage(
                    visit, isTyped: true, kept: try secrets.sealed(text, for: "key"), warning: judgement?.warning)
            case .change:
                // A browser that disconnects does not stop a change.
                _ = try await Task {
                    try await KeyAdministration(session, to: .change).changeKey(
                        to: text, options: KeyChangeOptions(version: version))
                }.value
                return .redirect("\(visit.root)/\(Self.encryptionPath)?done=changedDone")
            }
        } catch let error as FieldsealError {
            return try await changePage(
                visit, problem: visit.texts.told(error.message), isTyped: isTyped, status: .init(code: error.code.httpStatus))
        }
    }

    /// The page after a confirmation for a version that is no longer in force: who changed the key, and what to do.
    private func changedMeanwhile(_ visit: Visit) async throws -> PageResponse {
        let now = try await KeyAdministration(visit.session(), to: .see).keyHistory().first
        let facts = [
            "version": now.map { "\($0.keyVersion)" } ?? "", "who": now.map { ActorName.shown($0.createdBy, visit.texts) } ?? "",
            "when": now.map { visit.texts.moment($0.createdOn) } ?? "",
        ]
        return try await changePage(visit, problem: visit.text("changedMeanwhile", facts), status: .conflict)
    }

    private func rehearsal(_ found: KeyRehearsalSummary, _ visit: Visit) -> [String: Any] {
        let texts = visit.texts
        let (pause, isGood) = (texts.seconds(found.lastCatchUp / .seconds(1)), found.unreadable.isEmpty)
        return [
            "verdict": [
                "style": isGood ? "notice" : "problem",
                "text": visit.text(isGood ? "rehearsedGood" : "rehearsedBad", ["pause": pause]),
            ],
            "cells": texts.number(found.cells), "duration": texts.seconds(found.duration / .seconds(1)),
            "pause": pause,
            "log": texts.size(bytes: Int(found.walBytes)),
            "hasUnreadable": !found.unreadable.isEmpty,
            "unreadableText": texts.count("unreadable", found.unreadable.count),
            "unreadable": Array(found.unreadable.prefix(20)),
        ]
    }

    @Sendable func cancelChange(_ visit: Visit) async throws -> PageResponse {
        let isStopped = try await KeyAdministration(visit.session(), to: .cancel).cancelKeyChange()
        return .redirect("\(visit.root)/\(Self.encryptionPath)\(isStopped ? "?done=cancelledDone" : "")")
    }
}
