import RouterProtocol

/// The kinds of alerts about mailboxes.
package enum MailboxAlerts {
    /// The codes of alerts about the state of a mailbox. The state of the mailbox ends when a later turn succeeds, or when a person
    /// solves the problem. All other codes are about single messages and e-mails.
    package static let ofStates: Set<Int64> = Set(
        [
            AlertCode.wrongPassword, AlertCode.certificate, AlertCode.unreachable, AlertCode.protocolFailure, AlertCode.notApproved,
            AlertCode.noCredential, AlertCode.keyRequired, AlertCode.notAuthorized,
        ].map(Int64.init))
}
