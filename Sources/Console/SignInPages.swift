import Fieldseal
import Foundation
import HTTPTypes

// Signing in and out, and typing the password again.
extension Console {
    @Sendable func signInPage(_ visit: Visit) async throws -> Reply {
        .page("sign-in", try await signInValues(visit, then: visit.query("then") ?? ""))
    }

    private func signInValues(_ visit: Visit, then: String, name: String = "", problem: String? = nil) async throws -> [String: Any]
    {
        var values: [String: Any] = ["title": visit.text("signIn"), "then": then, "name": name]
        if let problem { values["problem"] = problem }
        values["issuers"] = try await issuers(visit, then: Visit.page(then))
        return values
    }

    private func issuers(_ visit: Visit, then: String, isFresh: Bool = false) async throws -> [[String: Any]] {
        guard let organization = visit.organizationRecord else { return [] }
        return try await openID.offered(organization).map { entry in
            [
                "name": entry.name,
                "href": "\(visit.root)/sign-in/with/\(entry.id.uuidString.lowercased())?then=\(then)\(isFresh ? "&fresh=1" : "")",
            ]
        }
    }

    private func returnAddress(_ visit: Visit) -> String { "\(baseURL)\(visit.root)/sign-in/back" }

    /// Sends the browser to a provider.
    @Sendable func signInElsewhere(_ visit: Visit) async throws -> Reply {
        guard let organization = visit.organizationRecord, let issuer = UUID(text: visit.parameter("issuer") ?? "") else {
            throw FieldsealError(.noResource, "There is nothing at this address.")
        }
        let (url, cookie) = try await openID.begin(
            issuer, then: Visit.page(visit.query("then")), isFresh: visit.query("fresh") == "1", redirectURI: returnAddress(visit),
            to: organization)
        return .redirect(url, cookie: Visit.attemptCookie(cookie))
    }

    /// Takes the browser back from a provider. A page goes on from here, since a browser that was sent here by another site does
    /// not yet show the new session's cookie.
    @Sendable func signInFromElsewhere(_ visit: Visit) async throws -> Reply {
        guard let organization = visit.organizationRecord else { throw FieldsealError(.noResource, "") }
        do {
            let names = ["state", "code", "iss", "error"]
            let answer = names.reduce(into: [String: String]()) { $0[$1] = visit.query($1) }
            let (token, then) = try await openID.finish(
                answer, cookie: visit.cookie(Visit.attemptCookieName), redirectURI: returnAddress(visit), to: organization,
                address: visit.address ?? "", requestID: visit.requestID)
            if let old = visit.cookie { try await endFormer(old, of: organization, visit) }
            var reply = Reply.page("signed-in", ["title": visit.text("signIn"), "href": "\(visit.root)/\(Visit.page(then))"])
            reply.cookies = [Visit.cookie(token), Visit.attemptCookie(nil)]
            return reply
        } catch let error as FieldsealError where error.code == .accessDenied {
            return .page("sign-in", try await signInValues(visit, then: "", problem: error.message), status: .forbidden)
        }
    }

    @Sendable func signIn(_ visit: Visit) async throws -> Reply {
        guard let organization = visit.organizationRecord else { throw FieldsealError(.noResource, "") }
        let then = visit.form["then"] ?? ""
        do {
            let token = try await sessions.signIn(
                visit.form["name"] ?? "", password: visit.form["password"] ?? "", code: visit.form["code"] ?? "", to: organization,
                address: visit.address ?? "",
                requestID: visit.requestID)
            // A session that was there before is not the new one's.
            if let old = visit.cookie { try await endFormer(old, of: organization, visit) }
            return .redirect("\(visit.root)/\(Visit.page(then))", cookie: Visit.cookie(token))
        } catch let error as FieldsealError where [.accessDenied, .requestQuotaExceeded].contains(error.code) {
            let status = HTTPResponse.Status(code: error.code == .accessDenied ? 403 : 429)
            return .page(
                "sign-in", try await signInValues(visit, then: then, name: visit.form["name"] ?? "", problem: error.message),
                status: status)
        }
    }

    private func endFormer(_ token: String, of organization: Organization, _ visit: Visit) async throws {
        try await sessions.signOut(token, of: organization, everywhere: false, address: visit.address, requestID: visit.requestID)
    }

    @Sendable func signOut(_ visit: Visit) async throws -> Reply {
        if let token = visit.token, let organization = visit.organizationRecord {
            try await sessions.signOut(
                token, of: organization, everywhere: visit.form["everywhere"] != nil, address: visit.address,
                requestID: visit.requestID)
        }
        return .redirect("\(visit.root)/sign-in", cookie: Visit.cookie(nil))
    }

    @Sendable func freshen(_ visit: Visit) async throws -> Reply {
        guard let token = visit.token, let organization = visit.organizationRecord else { throw FieldsealError(.noResource, "") }
        do {
            let new = try await sessions.freshen(
                token, password: visit.form["password"] ?? "", organization: organization, address: visit.address ?? "",
                requestID: visit.requestID)
            return .redirect(
                "\(visit.root)/settings/data-encryption?done=freshDone\(visit.form["typed"] == "1" ? "&typed=1" : "")",
                cookie: Visit.cookie(new))
        } catch let error as FieldsealError where [.accessDenied, .requestQuotaExceeded].contains(error.code) {
            return try await freshPage(visit, problem: error.message)
        }
    }

    @Sendable func account(_ visit: Visit) async throws -> Reply {
        guard let signed = visit.signed else { throw FieldsealError(.noResource, "") }
        let isOn = try await SecondFactor(deployment).isOn(for: signed)
        return .page("account", ["title": visit.text("account"), "isOn": isOn, "role": signed.session.caller.role.rawValue])
    }

    @Sendable func changeAccount(_ visit: Visit) async throws -> Reply {
        if let reply = try await requireFresh(visit) { return reply }
        guard let signed = visit.signed else { throw FieldsealError(.noResource, "") }
        let factor = SecondFactor(deployment)
        var values: [String: Any] = ["title": visit.text("account"), "role": signed.session.caller.role.rawValue]
        switch visit.parameter("action") {
        case "offer":
            let offer = try factor.offer(to: signed)
            values["secret"] = offer.secret
            values["sealed"] = offer.sealed
            values["link"] = "otpauth://totp/Fieldseal:\(visit.organization)?secret=\(offer.secret)&issuer=Fieldseal"
        case "confirm":
            do {
                values["codes"] = try await factor.confirm(visit.form["sealed"] ?? "", code: visit.form["code"] ?? "", for: signed)
                values["hasCodes"] = true
                values["isOn"] = true
            } catch let error as FieldsealError where error.code == .invalidArgument {
                values["problem"] = error.message
            }
        case "end":
            do {
                try await factor.end(visit.form["code"] ?? "", for: signed)
            } catch let error as FieldsealError where [.invalidArgument, .requestQuotaExceeded].contains(error.code) {
                values["problem"] = error.message
                values["isOn"] = true
            }
        default: throw FieldsealError(.noResource, "There is nothing at this address.")
        }
        return .page("account", values, status: values["problem"] == nil ? .ok : .badRequest)
    }

    /// The page that asks for the password, unless it was typed a short while ago.
    func requireFresh(_ visit: Visit) async throws -> Reply? { visit.signed?.isFresh == true ? nil : try await freshPage(visit) }

    private func freshPage(_ visit: Visit, problem: String? = nil) async throws -> Reply {
        var values: [String: Any] = ["title": visit.text("freshTitle")]
        values["isTyped"] = visit.form["key"]?.isEmpty == false || visit.form["typed"] == "1"
        if let problem { values["problem"] = problem }
        values["issuers"] = try await issuers(visit, then: "settings/data-encryption", isFresh: true)
        return .page("fresh", values, status: .forbidden)
    }
}
