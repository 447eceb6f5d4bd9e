import JSON
import Model
import Tenancy

/// An action on a mailbox other than editing it.
enum MailboxAction: String, CaseIterable {
    case test, approve, enable, disable, profile

    /// The values that the action sets. The profile is the person's choice.
    var members: [JSONValue.Member] {
        switch self {
        case .test:
            [
                .init("testemailconfigurationscheduled", true), .init("incomingemaildeliverymethod", 2),
                .init("outgoingemaildeliverymethod", 2),
            ]
        case .approve: [.init("emailrouteraccessapproval", 1)]
        case .enable:
            [
                .init("enabledforincomingemail", true), .init("enabledforoutgoingemail", true), .init("statecode", 0),
                .init("statuscode", 1),
            ]
        case .disable: [.init("statecode", 1), .init("statuscode", 2)]
        case .profile: []
        }
    }

    /// The key of the text on the action's button.
    var text: String {
        switch self {
        case .test: "testAndEnable"
        case .approve: "approve"
        case .enable: "enable"
        case .disable: "disable"
        case .profile: "assign"
        }
    }

    /// The notice after the action on one mailbox.
    var done: String {
        switch self {
        case .test: "testing"
        case .approve: "approved"
        case .enable: "enabledDone"
        case .disable: "disabledDone"
        case .profile: "saved"
        }
    }

    /// Whether a person may apply the action to the mailboxes that they may write.
    func isAllowed(for roles: RoleSet) -> Bool {
        let names = self == .profile ? ["emailserverprofile"] : members.map(\.name)
        return PrivilegeTable.depth(of: .update, on: .mailbox, for: roles) != .none
            && names.allSatisfy { PrivilegeTable.mayWrite($0, of: .mailbox, roles) }
    }
}
