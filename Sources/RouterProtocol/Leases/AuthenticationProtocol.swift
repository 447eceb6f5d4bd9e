/// The values of `incomingauthenticationprotocol` and `outgoingauthenticationprotocol` of a profile.
package enum AuthenticationProtocol: Int, Sendable {
    case autoDetect = 0
    case negotiate, ntlm, basic, oauth
}
