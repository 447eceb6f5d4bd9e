import Authentication
import Foundation
import HTTPTypes
import Model
import Tenancy

// The offer of a form that waits. It is on each page until the form is used or thrown away, or has waited too long.
extension Console {
    /// The pages without the offer: those that show a key, and the page in which another form waits for the password.
    private static let pagesWithout: Set<String> = ["key", "sheet", "fresh"]

    /// Has each page offer a form, if it is this person's and not too old.
    func remember(_ kept: String, of signed: ConsoleSessions.AuthenticatedUser) {
        guard case .form(let form, hasEnded: true)? = waitingForm(kept, of: signed) else { return }
        waitingForms.add(kept, sentOn: form.date, for: Self.person(signed))
    }

    /// The forms that wait for a person, the newest first.
    func waiting(for signed: ConsoleSessions.AuthenticatedUser) -> [WaitingForms.Form] {
        waitingForms.all(for: Self.person(signed))
    }

    private static func person(_ signed: ConsoleSessions.AuthenticatedUser) -> WaitingForms.Person {
        WaitingForms.Person(organization: signed.session.organization.id, id: signed.userID)
    }

    /// The values of the template `kept-offer` on a page.
    func offers(_ template: String, _ values: [String: Any], _ visit: Visit) -> [[String: Any]] {
        // A page whose content is the offer has no menu, so its values have no `user`. It does not show the offer twice.
        guard let signed = visit.signed, values["user"] is String, !Self.pagesWithout.contains(template) else { return [] }
        guard firstStepText(visit) == nil || values["hasCodes"] as? Bool == true else { return [] }
        return waiting(for: signed).map { ["kept": $0.kept, "sentOn": visit.texts.timeAgo($0.date)] }
    }

    /// Throws a form away.
    @Sendable func dropWaiting(_ visit: Visit) async throws -> PageResponse {
        guard let signed = visit.signed, let kept = visit.form[KeptForm.field] else { throw FieldsealError.noPage }
        if waitingForm(kept, of: signed) != nil { waitingForms.remove(kept) }
        return .redirect("\(visit.root)/\(Visit.page(visit.form["then"] ?? Self.pageOfForm(visit)))")
    }

    // MARK: A role that changes

    /// Whether people type into the form at an address. Other forms have only buttons.
    private static func isWritten(_ path: String) -> Bool {
        if isTyped(path) || path == "connect" || path == Composing.new.path { return true }
        let parts = path.split(separator: "/")
        guard parts.first == "records" else { return false }
        return parts.count == 3 && parts[2] != "bulk" || parts.count == 4 && parts[3] != "delete"
    }

    /// The page after a form that the person's role does not allow, perhaps because it has changed. The form waits.
    ///
    /// - Parameter path: The address of the form.
    /// - Returns: Nil if nothing was typed, or for another error.
    func refusedByRole(_ error: any Error, _ path: String, _ visit: Visit) throws -> PageResponse? {
        guard let error = error as? FieldsealError, [.privilegeDenied, .accessDenied].contains(error.code), Self.isWritten(path),
            let signed = visit.signed
        else { return nil }
        let kept = try kept(visit, path, for: signed.userID, of: signed.session.organization, .role)
        remember(kept, of: signed)
        return visit.message("noAccess", visit.text("roleChangedKept"), status: .init(code: error.code.httpStatus))
    }
}
