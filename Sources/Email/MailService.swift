/// The objects that the operations of all routers share on one server of the deployment.
package struct MailService: Sendable {
    package let tokens: MailOAuthTokens
    /// Wakes routers that wait for work.
    package let work = MailWork()
    /// How many attempts at sending an e-mail are made.
    let sendingAttempts: Int

    package init(tokens: MailOAuthTokens = MailOAuthTokens(), sendingAttempts: Int = 10) {
        self.tokens = tokens
        self.sendingAttempts = sendingAttempts
    }
}
