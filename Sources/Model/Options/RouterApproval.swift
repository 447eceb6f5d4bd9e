/// Whether an administrator approved the address of a mailbox (`mailbox.emailrouteraccessapproval`).
package enum RouterApproval: Int64, OptionValue {
    case empty = 0
    case approved, pending, rejected
}
