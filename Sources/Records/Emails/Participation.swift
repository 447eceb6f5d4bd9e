import Model

/// A party's part in an e-mail (`activityparty.participationtypemask`).
package enum Participation: Int, OptionValue {
    case sender = 1
    case to, cc, bcc

    /// The parties that an e-mail is sent to.
    package static let recipients: Set<Participation> = [.to, .cc, .bcc]
}
