import CurlClient
import RouterProtocol

/// A problem of a mailbox, with advice.
struct MailboxProblem: Error {
    let code: Int
    let text: String
    let details: String
    let isPermanent: Bool

    init(_ code: Int, _ text: String, _ details: String, isPermanent: Bool) {
        (self.code, self.text, self.details, self.isPermanent) = (code, text, details, isPermanent)
    }

    /// The problem in the form that the service receives.
    var told: MailboxReport.Problem { .init(code: code, text: text, details: details, isPermanent: isPermanent) }

    /// Describes an error of a connection for the person who has to solve the problem.
    init(_ error: any Error, server: String, what: String) {
        switch error {
        case let problem as MailboxProblem: self = problem
        case let error as CurlError:
            switch error.kind {
            case .signInRefused:
                self.init(
                    AlertCode.wrongPassword, "\(server) refuses the user name or the password of \(what). Set the password again.",
                    error.reason,
                    isPermanent: true)
            case .signInDeferred:
                self.init(
                    AlertCode.unreachable, "\(server) lets no user sign in to \(what) at the moment. The router tries again.",
                    error.reason, isPermanent: false)
            case .certificate:
                self.init(
                    AlertCode.certificate,
                    "The certificate of \(server) is not trusted, so no password was sent. Correct the certificate, or give the router the certificate of its authority. The router tries again.",
                    error.reason, isPermanent: false)
            case .tlsNotOffered:
                self.init(
                    AlertCode.certificate,
                    "\(server) does not offer TLS, so no password was sent. Set the right port. If it is right, an attacker may be between the router and the server. The router tries again.",
                    error.reason, isPermanent: false)
            case .unreachable, .tlsFailed:
                self.init(
                    AlertCode.unreachable, "\(server) can't be reached for \(what), or does not answer. The router tries again.",
                    error.reason, isPermanent: false)
            case .tooLarge:
                self.init(AlertCode.protocolFailure, "\(server) sent a line that is too long.", error.reason, isPermanent: false)
            case .other:
                self.init(
                    AlertCode.protocolFailure, "\(server) reports a failure of \(what): \(error.reason)", error.reason,
                    isPermanent: false)
            }
        case MailError.ended(let answer):
            self.init(
                AlertCode.unreachable,
                "\(server) ended the connection for \(what), and answered: \(answer). The router tries again.",
                answer, isPermanent: false)
        default:
            self.init(
                AlertCode.protocolFailure, "\(server) gave an unexpected response for \(what). The router tries again.", "\(error)",
                isPermanent: false)
        }
    }
}
