/// `fieldseal.ReleaseCredential`: the credential with which a router signs in to a mail server.
package struct MailLogin: Codable, Sendable {
    /// Nil if the router does not sign in to the server.
    package var userName: String?
    package var password: String?
    package var server: String
    package var port: Int
    package var useSSL: Bool
    /// A value of ``AuthenticationProtocol``.
    package var authenticationProtocol: Int
    /// A value of ``MailServerType``. The type says how mail is fetched; outgoing mail always uses SMTP.
    package var serverType: Int

    package init(
        userName: String?, password: String?, server: String, port: Int, useSSL: Bool, authenticationProtocol: Int, serverType: Int
    ) {
        (self.userName, self.password, self.server, self.port) = (userName, password, server, port)
        (self.useSSL, self.authenticationProtocol, self.serverType) = (useSSL, authenticationProtocol, serverType)
    }

    /// The router's request.
    package struct Request: Codable, Sendable {
        package var mailboxId: String
        package var direction: MailDirection
        package var hostId: String

        package init(mailboxId: String, direction: MailDirection, hostId: String) {
            (self.mailboxId, self.direction, self.hostId) = (mailboxId, direction, hostId)
        }
    }
}
