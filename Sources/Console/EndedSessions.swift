import Authentication
import Foundation
import HTTPTypes
import Hummingbird
import Model
import Tenancy

// Forms that were sent after their session had ended: nothing that was typed is lost.
extension Console {
    /// Asks the person of a form to sign in again. The form waits, sealed, in the page that asks.
    func signInAgain(_ visit: Visit) async throws -> Reply {
        let then = Self.formPage(visit).removingPercentEncoding ?? ""
        // Signing out is done already.
        let isSigningOut = visit.request.uri.path == "\(visit.root)/sign-out"
        guard !isSigningOut, let organization = visit.organizationRecord, let owner = Self.formOwner(visit) else {
            return .redirect("\(visit.root)/sign-in?ended=1&then=\(Self.formPage(visit))")
        }
        let path = String(visit.request.uri.path.dropFirst(visit.root.count + 1))
        let kept = try KeptForm(deployment.kek, endedFor: owner, of: organization).sealed(visit.form, path: path)
        return .page("sign-in", try await signInValues(visit, then: then, kept: kept), status: .forbidden)
    }

    /// After a sign-in, asks the person whether to send the form that waits; nil when none waits, or it is another person's.
    func offerKeptForm(_ visit: Visit, _ token: String, then: String) async throws -> Reply? {
        guard let kept = visit.form[KeptForm.field], let organization = visit.organizationRecord else { return nil }
        var visit = visit
        try await sign(&visit, with: token)
        guard let signed = visit.signed,
            let form = KeptForm(deployment.kek, endedFor: signed.userID, of: organization).opened(kept)
        else { return nil }
        var reply = Reply.page(
            "kept-form",
            [
                "title": visit.text("keptFormTitle"), "lead": visit.text("keptFormWhy"), "action": "\(visit.root)/\(form.path)",
                "kept": kept, "csrf": try Self.csrf(token, signed.userID), "back": "\(visit.root)/\(Visit.page(then))",
            ])
        reply.cookies = [Visit.cookie(token)]
        return reply
    }

    /// The visit with the fields that were typed before the session ended, if the form was kept.
    func resumed(_ visit: Visit, _ signed: ConsoleSessions.Signed) throws -> Visit {
        guard let kept = visit.form[KeptForm.field],
            let form = KeptForm(deployment.kek, endedFor: signed.userID, of: signed.session.organization).opened(kept),
            visit.request.uri.path == "\(visit.root)/\(form.path)"
        else { return visit }
        var visit = visit
        visit.form = form.fields
        return visit
    }
}
