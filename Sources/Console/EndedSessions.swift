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

    /// After a sign-in at a provider, asks the person whether to send the form that waits in their browser.
    ///
    /// The form was sealed for the person who sent it. So the request needs no token of a page: it changes nothing.
    @Sendable func offerKept(_ visit: Visit) async throws -> Reply {
        let then = Self.formPage(visit).removingPercentEncoding ?? ""
        guard let token = visit.token else {
            return .page("sign-in", try await signInValues(visit, then: then, kept: visit.form[KeptForm.field]), status: .forbidden)
        }
        return try await offerKeptForm(visit, token, then: then) ?? .redirect("\(visit.root)/overview")
    }

    /// After a sign-in, asks the person whether to send the form that waits; nil when none waits, or it is another person's.
    func offerKeptForm(_ visit: Visit, _ token: String, then: String) async throws -> Reply? {
        guard let kept = visit.form[KeptForm.field] else { return nil }
        var visit = visit
        try await sign(&visit, with: token)
        guard let signed = visit.signed, let (form, hasEnded) = waitingForm(kept, of: signed) else { return nil }
        var reply = Reply.page(
            "kept-form",
            [
                "title": visit.text(hasEnded ? "keptFormTitle" : "keptFreshTitle"),
                "lead": visit.text(hasEnded ? "keptFormWhy" : "keptFreshWhy"),
                "send": visit.text(hasEnded ? "keptFormSend" : "goOn"), "action": "\(visit.root)/\(form.path)",
                "kept": kept, "csrf": try Self.csrf(token, signed.userID), "back": "\(visit.root)/\(Visit.page(then))",
            ])
        reply.cookies = [Visit.cookie(token)]
        return reply
    }

    /// A form of this person that waits for a sign-in, and whether its session had ended.
    ///
    /// - Returns: Nil for a form that is too old, or another person's.
    private func waitingForm(_ kept: String, of signed: ConsoleSessions.Signed) -> (form: KeptForm.Content, hasEnded: Bool)? {
        let ended = KeptForm(deployment.kek, endedFor: signed.userID, of: signed.session.organization)
        if let form = ended.opened(kept) { return (form, true) }
        return KeptForm(deployment.kek, signed).opened(kept).map { ($0, false) }
    }

    /// The visit with the fields that were typed before the person signed in again, if the form was kept.
    func resumed(_ visit: Visit, _ signed: ConsoleSessions.Signed) throws -> Visit {
        guard let kept = visit.form[KeptForm.field], let (form, _) = waitingForm(kept, of: signed),
            visit.request.uri.path == "\(visit.root)/\(form.path)"
        else { return visit }
        var visit = visit
        visit.form = form.fields
        return visit
    }
}
