/// What the doctor found wrong, and what to do.
public struct Finding: Sendable, Equatable {
    /// How bad it is, in ascending order.
    public enum Severity: String, Sendable, Comparable, CaseIterable {
        /// Worth knowing.
        case notice
        /// A promise is weaker than it could be.
        case warning
        /// A promise is broken, or passwords can't be set.
        case error

        public static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }
        private var rank: Int { Self.allCases.firstIndex(of: self) ?? 0 }
    }

    public let severity: Severity
    /// A name for programs, which stays the same.
    public let code: String
    /// What it is about: ``deployment``, a replica's name, or an organization's.
    public let subject: String
    public let message: String
    /// The next step.
    public let advice: String

    static let deployment = "deployment"

    /// Something about the deployment as a whole.
    public init(_ severity: Severity, _ code: String, _ message: String, advice: String) {
        self.init(severity, code, Self.deployment, message, advice: advice)
    }

    init(_ severity: Severity, _ code: String, _ subject: String, _ message: String, advice: String) {
        self.severity = severity
        self.code = code
        self.subject = subject
        self.message = message
        self.advice = advice
    }

    /// The same about one of several databases.
    func named(_ database: String) -> Finding {
        Finding(severity, code, subject == Self.deployment ? database : "\(database)/\(subject)", message, advice: advice)
    }
}
