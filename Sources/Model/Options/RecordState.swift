/// The state of a mailbox, a queue or an e-mail server profile (`statecode`).
package enum RecordState: Int64, OptionValue {
    case active = 0
    case inactive
}
