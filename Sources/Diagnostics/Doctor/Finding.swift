/// A problem that the doctor found, and the next step.
package struct Finding: Sendable, Equatable {
    /// The severity of a finding, in ascending order.
    package enum Severity: String, Sendable, Comparable, CaseIterable {
        /// Information.
        case notice
        /// A guarantee is weaker than it could be.
        case warning
        /// A guarantee is broken, or passwords can't be set.
        case error

        package static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }
        private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    }

    package let severity: Severity
    /// A stable name for programs.
    package let code: String
    /// The subject: ``deployment``, or the name of a replica or an organization.
    package let subject: String
    package let message: String
    /// The next step.
    package let advice: String

    static let deployment = "deployment"

    /// A finding about the whole deployment.
    package init(_ severity: Severity, _ code: String, _ message: String, advice: String) {
        self.init(severity, code, Self.deployment, message, advice: advice)
    }

    init(_ severity: Severity, _ code: String, _ subject: String, _ message: String, advice: String) {
        self.severity = severity
        self.code = code
        self.subject = subject
        self.message = message
        self.advice = advice
    }

    /// This finding with a database's name in its subject, for a deployment of several databases.
    func named(_ database: String) -> Finding {
        Finding(severity, code, subject == Self.deployment ? database : "\(database)/\(subject)", message, advice: advice)
    }
}
