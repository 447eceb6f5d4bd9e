/// A party's part in an e-mail (`activityparty.participationtypemask`).
package enum Participation: Int, CaseIterable, Sendable {
    case sender = 1
    case to, cc, bcc

    /// As SQL writes it.
    package var sql: String { "\(rawValue)" }
}
