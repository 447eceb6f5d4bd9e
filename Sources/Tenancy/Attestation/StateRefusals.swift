import Synchronization

/// The organizations that this server refuses at the moment, because their attested state does not verify.
package final class StateRefusals: Sendable {
    /// A report that the refusal of an organization began, changed or ended.
    package struct Report: Sendable {
        package let organization: String
        /// Nil if the organization is served again.
        package let problem: AttestationProblem?
    }

    /// The reports to log. A single task reads this stream.
    package let reports: AsyncStream<Report>
    private let continuation: AsyncStream<Report>.Continuation
    private let known = Mutex<[String: Refusal]>([:])

    /// Why an organization is refused, and in which revision of its attested state.
    package struct Refusal: Sendable {
        package let problem: AttestationProblem
        package let revision: Int
    }

    init() { (reports, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1_000)) }

    /// The refusals by the organizations' names.
    package var all: [String: Refusal] { known.withLock(\.self) }

    func refuse(_ organization: String, _ problem: AttestationProblem, revision: Int) {
        let refusal = Refusal(problem: problem, revision: revision)
        guard known.withLock({ $0.updateValue(refusal, forKey: organization) })?.problem != problem else { return }
        continuation.yield(Report(organization: organization, problem: problem))
    }

    /// Ends the refusal of an organization, because its state verifies or the organization is gone.
    func end(_ organization: String) {
        guard known.withLock({ !$0.isEmpty && $0.removeValue(forKey: organization) != nil }) else { return }
        continuation.yield(Report(organization: organization, problem: nil))
    }
}
