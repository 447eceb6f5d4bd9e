import RouterProtocol

/// The kinds of alerts about mailboxes.
package enum MailboxAlerts {
    /// The codes of states that end, by themselves or by a person's mending. All others are about single messages and e-mails.
    package static let ofStates: Set<Int64> = Set(
        [
            AlertCode.wrongPassword, AlertCode.certificate, AlertCode.unreachable, AlertCode.protocolFailure, AlertCode.notApproved,
            AlertCode.noCredential, AlertCode.keyRequired, AlertCode.notAuthorized,
        ].map(Int64.init))
}
