/// How e-mails of a mailbox are received or sent (`mailbox.incomingemaildeliverymethod`, `mailbox.outgoingemaildeliverymethod`).
package enum DeliveryMethod: Int64, OptionValue {
    case none = 0
    case outlook
    /// By a router.
    case serverSide
    /// By a router, from another mailbox. Only incoming e-mails have this method.
    case forwardMailbox

    /// The methods with which a router fetches e-mails.
    package static let receiving: Set<DeliveryMethod> = [.serverSide, .forwardMailbox]
}
