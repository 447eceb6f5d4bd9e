package import Model
package import Tenancy

/// The operations of the mail router in one organization. Only a caller with the role Email Router may use these operations.
package struct MailboxLeases: Sendable {
    let session: Session
    let mail: MailService

    var organization: Organization { session.organization }
    var caller: Caller { session.caller }
    var deployment: Deployment { session.deployment }

    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a router that acts for another user.
    package init(_ session: Session, _ mail: MailService) throws(FieldsealError) {
        guard session.caller.roles.contains(.emailRouter) else {
            throw FieldsealError(
                .privilegeDenied,
                "Only an Email Router may use the router's messages, and the caller's role is \(session.caller.role.rawValue).")
        }
        try session.requireOwnName("A message of the router")
        self.session = session
        self.mail = mail
    }
}
