import CellCrypto
import Fieldseal
import Foundation
import HTTPTypes
import Mustache

// Settings > Data Management > Data Encryption.
extension Console {
    @Sendable func encryption(_ visit: Visit) async throws -> Reply {
        let done = visit.query("done").flatMap {
            ["freshDone", "changedDone", "activatedDone"].contains($0) ? visit.text($0) : nil
        }
        return try await encryptionPage(visit, notice: done, isTyped: visit.query("typed") == "1")
    }

    private func encryptionPage(
        _ visit: Visit, notice: String? = nil, problem: String? = nil, isTyped: Bool = false,
        status code: HTTPResponse.Status = .ok
    ) async throws -> Reply {
        let session = try visit.session()
        let status = try await session.encryptionStatus()
        let isDue = status.isActive && status.nextChangeDue < Date()
        var values: [String: Any] = [
            "title": visit.text("dataEncryption"), "active": status.isActive,
            "state": visit.text(status.isActive ? "active" : "keyRequired"),
            "stateClass": !status.isActive ? "required" : isDue || status.copiedOn == nil ? "due" : "good",
            "stateText": visit.text(status.isActive ? "activeText" : "requiredText"), "keyVersion": status.keyVersion,
            "fingerprint": status.fingerprint, "setOn": ISO8601.text(status.setOn), "setOnText": visit.moment(status.setOn),
            "age": "\(Int(Date().timeIntervalSince(status.setOn) / 86_400)) \(visit.text("days"))",
            "nextDue": visit.day(status.nextChangeDue), "origin": visit.text(status.origin ?? ""),
            "copied": status.copiedOn.map(visit.moment) ?? visit.text("never"),
            "history": try await session.keyHistory().map { entry -> [String: Any] in
                [
                    "keyVersion": entry.keyVersion, "fingerprint": entry.fingerprint, "createdOn": visit.moment(entry.createdOn),
                    "createdBy": entry.createdBy, "cells": entry.cells.map { "\($0)" } ?? "",
                    "duration": entry.duration.map { String(format: "%.2f s", $0) } ?? "",
                    "status": visit.text(entry.purgedOn != nil ? "purged" : entry.retiredOn != nil ? "retired" : "current"),
                ]
            },
        ]
        values["notice"] = notice
        values["problem"] = problem
        // A key that was typed is on no page. An empty field must not stand for a generated one then.
        values["isTyped"] = isTyped
        return .page("encryption", values, status: code)
    }

    @Sendable func progress(_ visit: Visit) async throws -> Reply {
        guard let progress = try await visit.session().keyChangeProgress() else { return .json(["running": false]) }
        let text = "\(visit.text("busy")): \(progress.phase.rawValue), \(progress.cells) \(visit.text("cells"))"
        return .json([
            "running": true, "text": .string(text), "percent": progress.percent.map { .integer(Int64($0)) } ?? .null,
        ])
    }

    @Sendable func strength(_ visit: Visit) async throws -> Reply {
        do {
            _ = try OrganizationKeyText(new: visit.form["key"] ?? "")
            return .json(["text": .string(visit.text("strong"))])
        } catch {
            return .json(["text": .string("\(error)")])
        }
    }

    @Sendable func showKey(_ visit: Visit) async throws -> Reply {
        if let reply = try await requireFresh(visit) { return reply }
        let session = try visit.session()
        let status = try await session.encryptionStatus()
        let key = try await session.retrieveDataEncryptionKey()
        return key.withString { text in
            guard let wanted = visit.form["sheet"] else { return .page("key", ["title": visit.text("keyShown"), "key": text]) }
            var values = sheet(text, status, session.organization, visit)
            guard wanted == "file" else { return .page("sheet", values) }
            // All in one file, which looks and prints the same wherever it is opened.
            values["style"] = String(decoding: files.style, as: UTF8.self)
            let page = files.templates.render(values.merging(visit.common()) { own, _ in own }, withTemplate: "sheet-file") ?? ""
            return Reply(
                content: .download(
                    name: "\(session.organization.name)-key-\(status.keyVersion).html", type: "text/html; charset=utf-8",
                    Array(page.utf8)))
        }
    }

    private func sheet(_ text: String, _ status: EncryptionStatus, _ organization: Organization, _ visit: Visit) -> [String: Any] {
        let characters = Array(text)
        let groups = stride(from: 0, to: characters.count, by: 4).map { String(characters[$0..<min($0 + 4, characters.count)]) }
        let unusual = characters.enumerated().compactMap { index, character -> String? in
            let isPlain = character.isASCII && (character.isLetter || character.isNumber) && !"O0oIl1".contains(character)
            return isPlain || character == "-" ? nil : "\(index + 1): \(character) (\(character.spelledOut))"
        }
        return [
            "title": visit.text("recoverySheet"), "organizationID": organization.id.uuidString.lowercased(),
            "keyVersion": status.keyVersion, "fingerprint": status.fingerprint, "setOnText": visit.moment(status.setOn),
            "today": visit.day(Date()), "groups": groups, "length": characters.count, "unusual": unusual,
            "hasUnusual": !unusual.isEmpty,
        ]
    }

    @Sendable func changeKey(_ visit: Visit) async throws -> Reply {
        if let reply = try await requireFresh(visit) { return reply }
        let session = try visit.session()
        let text = visit.form["key"].flatMap { $0.isEmpty ? nil : $0 }
        let isTyped = text != nil || visit.form["typed"] == "1"
        do {
            if visit.form["do"] == "rehearse" {
                let found = try await session.rehearseKeyChange()
                let seconds = String(format: "%.2f s", found.duration / .seconds(1))
                let bad =
                    found.unreadable.isEmpty
                    ? ""
                    : " \(found.unreadable.count) \(visit.text("unreadable")): \(found.unreadable.prefix(20).joined(separator: "; "))"
                return try await encryptionPage(
                    visit, notice: "\(visit.text("rehearsed")) \(seconds), \(found.cells) \(visit.text("cells")).\(bad)",
                    isTyped: isTyped)
            }
            guard text != nil || !isTyped else {
                return try await encryptionPage(visit, problem: visit.text("typeKeyAgain"), isTyped: true, status: .badRequest)
            }
            // A browser that hangs up does not stop a change.
            _ = try await Task { try await session.changeKey(to: text) }.value
            return .redirect("\(visit.root)/settings/data-encryption?done=changedDone")
        } catch let error as FieldsealError {
            return try await encryptionPage(
                visit, problem: error.message, isTyped: isTyped, status: .init(code: error.code.httpStatus))
        }
    }

    @Sendable func activate(_ visit: Visit) async throws -> Reply {
        if let reply = try await requireFresh(visit) { return reply }
        guard let text = visit.form["key"], !text.isEmpty else {
            return try await encryptionPage(visit, problem: visit.text("typeKeyAgain"), status: .badRequest)
        }
        do {
            try await visit.session().activate(pasted: text)
            return .redirect("\(visit.root)/settings/data-encryption?done=activatedDone")
        } catch let error as FieldsealError {
            return try await encryptionPage(visit, problem: error.message, status: .init(code: error.code.httpStatus))
        }
    }
}

extension Character {
    /// What a person reads aloud, for characters that look like others: Unicode's names.
    fileprivate var spelledOut: String {
        unicodeScalars.map { $0.properties.name?.lowercased() ?? "U+\(String($0.value, radix: 16, uppercase: true))" }
            .joined(separator: ", ")
    }
}
