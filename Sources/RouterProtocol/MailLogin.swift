/// `fieldseal.ReleaseCredential`: the credential with which a router signs in to a mail server.
public struct MailLogin: Codable, Sendable {
    /// Nil to sign in without a user name.
    public var userName: String?
    public var password: String?
    public var server: String
    public var port: Int
    public var useSSL: Bool
    /// A value of ``AuthenticationProtocol``.
    public var authenticationProtocol: Int
    /// 1 is POP3, 4 is IMAP; SMTP for outgoing mail.
    public var serverType: Int

    public init(
        userName: String?, password: String?, server: String, port: Int, useSSL: Bool, authenticationProtocol: Int, serverType: Int
    ) {
        (self.userName, self.password, self.server, self.port) = (userName, password, server, port)
        (self.useSSL, self.authenticationProtocol, self.serverType) = (useSSL, authenticationProtocol, serverType)
    }

    /// The router's request.
    public struct Request: Codable, Sendable {
        public var mailboxId: String
        public var direction: MailDirection
        public var hostId: String

        public init(mailboxId: String, direction: MailDirection, hostId: String) {
            (self.mailboxId, self.direction, self.hostId) = (mailboxId, direction, hostId)
        }
    }
}

/// The direction of mail.
public enum MailDirection: String, Codable, Sendable {
    case incoming = "Incoming"
    case outgoing = "Outgoing"
}

/// `incomingauthenticationprotocol` and `outgoingauthenticationprotocol` of a profile.
public enum AuthenticationProtocol: Int, Sendable {
    case autoDetect = 0
    case negotiate, ntlm, basic, oauth
}

/// `emailserverprofile.servertype`.
public enum MailServerType: Int, Sendable {
    /// Reached by IMAP and SMTP.
    case exchange = 0
    case pop3 = 1
    case imap = 4
}
