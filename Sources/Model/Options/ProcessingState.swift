/// Whether a router has leased a mailbox (`mailbox.processingstatecode`).
package enum ProcessingState: Int64, OptionValue {
    case idle = 0
    case leased
}
