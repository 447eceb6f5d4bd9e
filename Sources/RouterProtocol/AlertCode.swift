/// The codes of alerts about mailboxes, in `tracelog.tracecode` (docs/router.md). Dataverse publishes no list of such codes. The
/// meaning of a code never changes.
package enum AlertCode {
    package static let wrongPassword = 10
    package static let certificate = 11
    package static let unreachable = 12
    package static let protocolFailure = 13
    package static let notApproved = 14
    package static let noCredential = 15
    package static let keyRequired = 16
    package static let undeliverable = 18
    package static let numberedAnew = 19
    package static let refused = 20
    package static let tooLarge = 21
    package static let mailboxFull = 22
    package static let unknownOutcome = 23
    package static let attemptsExhausted = 24
    package static let notAuthorized = 25
    package static let mayNotSend = 26
}
