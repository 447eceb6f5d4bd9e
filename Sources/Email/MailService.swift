/// What the messages of all routers share on one server.
public struct MailService: Sendable {
    let tokens: MailTokens
    /// Wakes routers that wait for work.
    public let work = MailWork()
    /// Attempts at sending an e-mail, at most.
    let sendingAttempts: Int

    public init(tokens: MailTokens = MailTokens(), sendingAttempts: Int = 10) {
        self.tokens = tokens
        self.sendingAttempts = sendingAttempts
    }
}
