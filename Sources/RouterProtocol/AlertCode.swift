/// The codes of alerts about mailboxes, in `tracelog.tracecode` (docs/router.md). Dataverse publishes no list. The codes never
/// change.
public enum AlertCode {
    public static let wrongPassword = 10
    public static let certificate = 11
    public static let unreachable = 12
    public static let protocolFailure = 13
    public static let notApproved = 14
    public static let noCredential = 15
    public static let keyRequired = 16
    public static let undeliverable = 18
    public static let numberedAnew = 19
    public static let refused = 20
    public static let tooLarge = 21
    public static let mailboxFull = 22
    public static let unknownOutcome = 23
    public static let attemptsExhausted = 24
    public static let notAuthorized = 25
    public static let mayNotSend = 26
}
