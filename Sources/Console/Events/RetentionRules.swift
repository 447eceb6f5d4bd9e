import Email
import Foundation
import Tenancy

/// How many days evidence and e-mails stay in the database, according to the settings; nil to keep them forever.
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
