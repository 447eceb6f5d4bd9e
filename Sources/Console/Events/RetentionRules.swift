import Email
import Foundation
import Tenancy

/// How long evidence and e-mails stay in the database by the settings; nil for always.
package struct RetentionRules: Sendable {
    let eventDays: Int?
    let auditDays: Int?
    let emailDays: Int?

    package init(eventDays: Int?, auditDays: Int?, emailDays: Int?) {
        self.eventDays = eventDays
        self.auditDays = auditDays
        self.emailDays = emailDays
    }
}
