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
                visit.form["name"] ?? "", password: visit.form["password"] ?? "", to: organization, address: visit.address ?? "",
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

    /// The page that asks for the password, unless it was typed a short while ago.
    func requireFresh(_ visit: Visit) -> Reply? {
        visit.signed?.isFresh == true ? nil : .page("fresh", ["title": visit.text("freshTitle")], status: .forbidden)
    }
}
