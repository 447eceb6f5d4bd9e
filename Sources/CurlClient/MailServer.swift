internal import CCurl

/// A mail server to connect to, and the credential to sign in with.
package struct MailServer {
    /// The protocol, as libcurl's addresses name it.
    package enum Scheme: String, Sendable {
        case imap, pop3, smtp
    }

    /// When TLS begins.
    package enum TLS: Sendable {
        /// With the first byte.
        case implicit
        /// By STARTTLS. If the server does not offer it, the connection fails.
        case required
        /// Never.
        case none
    }

    /// How the client proves who it is.
    package enum SignIn: Sendable {
        case password
        /// NTLM, with a password.
        case ntlm
        /// OAUTHBEARER or XOAUTH2, with an access token.
        case token
    }

    /// The protocol that the server speaks.
    package var scheme: Scheme
    /// A name or an address, without brackets.
    package var host: String
    /// The TCP port.
    package var port: Int
    /// When TLS begins.
    package var tls: TLS
    /// The path of a file with CA certificates in PEM, which are trusted instead of the system's CA certificates; nil to trust the
    /// system's.
    package var authorityFile: String?
    /// Who signs in, with what; nil for a connection without signing in.
    package var credential: (user: String, secret: String, signIn: SignIn)?

    /// A server of this protocol at this port. Set ``authorityFile`` and ``credential`` where they are needed.
    package init(_ scheme: Scheme, _ host: String, port: Int, tls: TLS) {
        (self.scheme, self.host, self.port, self.tls) = (scheme, host, port, tls)
    }

    func prepare(_ handle: CurlHandle) {
        let name = host.contains(":") ? "[\(host)]" : host
        handle.set(CURLOPT_URL, "\(scheme.rawValue)\(tls == .implicit ? "s" : "")://\(name):\(port)/")
        handle.set(CURLOPT_PROTOCOLS_STR, "imap,imaps,pop3,pop3s,smtp,smtps")
        handle.set(CURLOPT_USE_SSL, Int((tls == .none ? CURLUSESSL_NONE : CURLUSESSL_ALL).rawValue))
        if let authorityFile { handle.set(CURLOPT_CAINFO, authorityFile) }
        handle.set(CURLOPT_SASL_IR, 1)
        guard let credential else { return }
        handle.set(CURLOPT_USERNAME, credential.user)
        switch credential.signIn {
        case .password: break
        case .ntlm: handle.set(CURLOPT_LOGIN_OPTIONS, "AUTH=NTLM")
        case .token: handle.set(CURLOPT_LOGIN_OPTIONS, "AUTH=OAUTHBEARER;AUTH=XOAUTH2")
        }
        var secret = Array(credential.secret.utf8) + [0]
        secret.withUnsafeMutableBytes { bytes in
            handle.set(
                credential.signIn == .token ? CURLOPT_XOAUTH2_BEARER : CURLOPT_PASSWORD, bytes: UnsafeRawBufferPointer(bytes))
            for index in bytes.indices { bytes[index] = 0 }
        }
    }
}
