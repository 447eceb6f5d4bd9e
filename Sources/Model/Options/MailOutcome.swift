/// The outcome of the newest attempt in one direction of a mailbox (`mailbox.incomingemailstatus`, `mailbox.outgoingemailstatus`), or
/// in both (`mailbox.mailboxstatus`).
package enum MailOutcome: Int64, OptionValue {
    case notRun = 0
    case success, failure
}
