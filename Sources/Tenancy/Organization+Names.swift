package import Model

// Names under which no organization can be reached.
extension Organization {
    /// First path segments that the service uses itself, so no organization can be reached under them.
    private static let pathsOfService: Set<String> = ["api", "assets", "healthz", "readyz", "xrmservices"]

    /// Whether the service uses a name for its own paths, so that clients can't reach an organization with that name.
    package static func isOfService(_ name: String) -> Bool { pathsOfService.contains(name) }

    /// Checks that requests and commands can reach an organization under the name that it is to get.
    package static func checkReachable(_ name: String) throws(FieldsealError) {
        guard name != "config" else {
            throw FieldsealError(
                .invalidArgument, "`fieldseal migrate down config` means the deployment. Choose another name for the organization.")
        }
        guard isOfService(name) else { return }
        throw FieldsealError(
            .invalidArgument,
            "The service uses \(name.quotedForMessage) for addresses of its own. Choose another name for the organization.")
    }
}
