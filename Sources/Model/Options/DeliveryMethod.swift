/// How e-mails of a mailbox are received or sent (`mailbox.incomingemaildeliverymethod`, `mailbox.outgoingemaildeliverymethod`).
package enum DeliveryMethod: Int64, OptionValue {
    case none = 0
    case outlook
    /// A router fetches or sends the e-mails.
    case serverSide
    /// A router fetches the e-mails from another mailbox. Only incoming e-mails have this method.
    case forwardMailbox

    /// The methods with which a router fetches e-mails.
    package static let receiving: Set<DeliveryMethod> = [.serverSide, .forwardMailbox]
}
