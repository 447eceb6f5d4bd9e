import Authentication
import Foundation
import HTTPTypes
import Hummingbird
import Model
import Tenancy

// A person's own account: password, second factor, sessions.
extension Console {
    @Sendable func account(_ visit: Visit) async throws -> PageResponse {
        let done = visit.query("done").flatMap {
            ["passwordDone", "sessionDone", "codesOff"].contains($0) ? visit.text($0) : nil
        }
        return try await accountPage(visit, ["notice": done as Any?].compactMapValues { $0 })
    }

    /// The page of a person's account. The page can hold another form, which waits until the person has taken a first step, such as
    /// choosing a new password.
    func accountPage(_ visit: Visit, _ more: [String: Any], status: HTTPResponse.Status = .ok) async throws -> PageResponse {
        guard let signed = visit.signed else { throw FieldsealError.noPage }
        if let kept = visit.form["waits"] { remember(kept, of: signed) }
        let running = try await sessions.running(for: signed, token: visit.token ?? "")
        let codes = try await SecondFactor(deployment).recoveryCodes(for: signed)
        var values: [String: Any] = [
            "title": visit.text("account"), "name": signed.name, "roleText": visit.text("role:\(visit.role.rawValue)"),
            "roleWhy": visit.text("roleWhy:\(visit.role.rawValue)"), "isOn": codes != nil,
            "codesLeft": orFalse(codes.map { visit.texts.count("codesLeft", $0) }),
            "codeMarks": codes == nil ? "" : try await SecondFactor(deployment).marks(of: signed).joined(separator: " "),
            "codesOn": visit.texts.time(Date()), "secret": false, "hasCodes": false, "codeProblem": false, "passwordProblem": false,
            "firstStep": orFalse(firstStepText(visit)), "waits": orFalse(waits(visit, signed)),
            "codeOff": visit.text(signed.mustAddSecondFactor ? "codeIsMissing" : "codeIsOff"),
            "sessions": running.map { entry -> [String: Any] in
                [
                    "id": entry.id, "address": entry.address.map(EventLines.address) ?? "", "isCurrent": entry.isCurrent,
                    "createdOn": visit.texts.time(entry.createdOn), "usedOn": visit.texts.timeAgo(entry.usedOn),
                ]
            },
        ]
        values.merge(more) { _, new in new }
        return .page("account", values, status: status)
    }

    /// The form that waits for a first step.
    private func waits(_ visit: Visit, _ signed: ConsoleSessions.AuthenticatedUser) -> String? {
        visit.form["waits"].flatMap { $0.isEmpty ? nil : $0 }
            ?? (firstStepText(visit) == nil ? nil : waiting(for: signed).first?.kept)
    }

    func changeAccount(_ action: String, _ visit: Visit) async throws -> PageResponse {
        guard let signed = visit.signed else { throw FieldsealError.noPage }
        // This form contains the current password, so the password is not asked for again.
        if action == "password" { return try await changePassword(visit, signed) }
        if let reply = try await requireReauthentication(visit, for: "account/\(action)") { return reply }
        switch action {
        case "end-session":
            let id = visit.form["id"] ?? ""
            if let question = try await sessionQuestion(id, signed, visit) { return question }
            try await sessions.end(id, of: signed, token: visit.token ?? "")
            return .redirect("\(visit.root)/account?done=sessionDone")
        default: return try await changeSecondFactor(action, visit, signed)
        }
    }

    private func changePassword(_ visit: Visit, _ signed: ConsoleSessions.AuthenticatedUser) async throws -> PageResponse {
        guard visit.form["new"] == visit.form["again"] else {
            return try await accountPage(visit, ["passwordProblem": visit.text("passwordsDiffer")], status: .badRequest)
        }
        do {
            let token = try await sessions.changePassword(
                visit.form["old"] ?? "", to: visit.form["new"] ?? "", of: signed, address: visit.address ?? "",
                requestID: visit.requestID)
            var waiting = visit
            waiting.form = visit.form["waits"].map { [KeptForm.field: $0] } ?? [:]
            if let reply = try await offerKeptForm(waiting, token, then: "account") { return reply }
            return .redirect("\(visit.root)/account?done=passwordDone", cookie: Visit.cookie(token))
        } catch let error as FieldsealError where [.accessDenied, .invalidArgument, .requestQuotaExceeded].contains(error.code) {
            let text = error.code == .accessDenied ? visit.text("passwordWrong") : visit.texts.told(error.message)
            let status = error.code == .accessDenied ? 403 : error.code.httpStatus
            return try await accountPage(visit, ["passwordProblem": text], status: .init(code: status))
        }
    }

    private func changeSecondFactor(_ action: String, _ visit: Visit, _ signed: ConsoleSessions.AuthenticatedUser) async throws
        -> PageResponse
    {
        let factor = SecondFactor(deployment)
        switch action {
        case "offer":
            do {
                let offer = try await factor.offer(to: signed)
                return try await accountPage(visit, offered(offer.secret, offer.sealed, visit, signed))
            } catch let error as FieldsealError where error.code == .invalidArgument {
                return try await accountPage(visit, ["codeProblem": visit.texts.told(error.message)], status: .badRequest)
            }
        case "confirm":
            let sealed = visit.form["sealed"] ?? ""
            do {
                let codes = try await factor.confirm(sealed, code: visit.form["code"] ?? "", for: signed)
                return try await accountPage(visit, ["codes": codes, "hasCodes": true, "isOn": true, "firstStep": false])
            } catch let error as FieldsealError where error.code == .invalidArgument {
                // After a mistyped code the page shows the same secret, because the authenticator has it already.
                var values: [String: Any] = ["codeProblem": visit.texts.told(error.message)]
                if let secret = try await factor.secret(of: sealed, for: signed) {
                    values.merge(offered(secret, sealed, visit, signed)) { _, new in new }
                }
                return try await accountPage(visit, values, status: .badRequest)
            }
        case "end":
            do {
                try await factor.end(visit.form["code"] ?? "", for: signed)
                return .redirect("\(visit.root)/account?done=codesOff")
            } catch let error as FieldsealError where [.invalidArgument, .requestQuotaExceeded].contains(error.code) {
                return try await accountPage(visit, ["codeProblem": visit.texts.told(error.message)], status: .badRequest)
            }
        case "codes":
            do {
                let marks = visit.form["marks"]?.split(separator: " ").map(String.init)
                let codes = try await factor.replaceRecoveryCodes(
                    visit.form["code"] ?? "", marks: marks, for: signed)
                return try await accountPage(visit, ["codes": codes, "hasCodes": true])
            } catch let error as FieldsealError where [.invalidArgument, .requestQuotaExceeded].contains(error.code) {
                return try await accountPage(visit, ["codeProblem": visit.texts.told(error.message)], status: .badRequest)
            }
        default: throw FieldsealError.noPage
        }
    }

    /// The secret for an authenticator, as a code to scan and as a text to type.
    private func offered(_ secret: String, _ sealed: String, _ visit: Visit, _ signed: ConsoleSessions.AuthenticatedUser)
        -> [String: Any]
    {
        let label =
            "Fieldseal:\(signed.name)@\(visit.organization)".addingPercentEncoding(withAllowedCharacters: .urlHostAllowed)
            ?? "Fieldseal"
        let link = "otpauth://totp/\(label)?secret=\(secret)&issuer=Fieldseal"
        let groups = stride(from: 0, to: secret.count, by: 4).map { secret.dropFirst($0).prefix(4) }
        return [
            "secret": groups.joined(separator: " "), "sealed": sealed, "link": link,
            "qr": orFalse(QRCode(link)?.svg(alternative: visit.text("qrCode"))),
        ]
    }
}
