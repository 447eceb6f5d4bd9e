import Fieldseal
import HTTPTypes

// Signing in and out, and typing the password again.
extension Console {
    @Sendable func signInPage(_ visit: Visit) async throws -> Reply {
        .page("sign-in", ["title": visit.text("signIn"), "then": visit.query("then") ?? "", "name": ""])
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
            if let old = visit.cookie { try await sessions.signOut(old, everywhere: false) }
            let isPath = then.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || "-/".contains($0)) } && !then.hasPrefix("/")
            return .redirect("\(visit.root)/\(isPath && !then.isEmpty ? then : "overview")", cookie: Visit.cookie(token))
        } catch let error as FieldsealError where [.accessDenied, .requestQuotaExceeded].contains(error.code) {
            let status = HTTPResponse.Status(code: error.code == .accessDenied ? 403 : 429)
            return .page(
                "sign-in",
                ["title": visit.text("signIn"), "problem": error.message, "then": then, "name": visit.form["name"] ?? ""],
                status: status)
        }
    }

    @Sendable func signOut(_ visit: Visit) async throws -> Reply {
        if let token = visit.token { try await sessions.signOut(token, everywhere: visit.form["everywhere"] != nil) }
        return .redirect("\(visit.root)/sign-in", cookie: Visit.cookie(nil))
    }

    @Sendable func freshen(_ visit: Visit) async throws -> Reply {
        guard let token = visit.token, let organization = visit.organizationRecord else { throw FieldsealError(.noResource, "") }
        do {
            let new = try await sessions.freshen(
                token, password: visit.form["password"] ?? "", organization: organization, address: visit.address ?? "",
                requestID: visit.requestID)
            return .redirect("\(visit.root)/settings/data-encryption?done=freshDone", cookie: Visit.cookie(new))
        } catch let error as FieldsealError where [.accessDenied, .requestQuotaExceeded].contains(error.code) {
            return .page("fresh", ["title": visit.text("freshTitle"), "problem": error.message], status: .forbidden)
        }
    }

    @Sendable func account(_ visit: Visit) async throws -> Reply {
        guard let signed = visit.signed else { throw FieldsealError(.noResource, "") }
        let isOn = try await SecondFactor(deployment).isOn(for: signed)
        return .page("account", ["title": visit.text("account"), "isOn": isOn, "role": signed.session.caller.role.rawValue])
    }

    @Sendable func changeAccount(_ visit: Visit) async throws -> Reply {
        if let reply = requireFresh(visit) { return reply }
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
        case "end": try await factor.end(for: signed)
        default: throw FieldsealError(.noResource, "There is nothing at this address.")
        }
        return .page("account", values, status: values["problem"] == nil ? .ok : .badRequest)
    }

    /// The page that asks for the password, unless it was typed a short while ago.
    func requireFresh(_ visit: Visit) -> Reply? {
        visit.signed?.isFresh == true ? nil : .page("fresh", ["title": visit.text("freshTitle")], status: .forbidden)
    }
}
