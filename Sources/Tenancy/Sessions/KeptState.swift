/// An organization's state as a shared object, because copying its many parts for each request takes time.
final class KeptState: Sendable {
    let state: OrganizationState

    init(_ state: OrganizationState) { self.state = state }
}
