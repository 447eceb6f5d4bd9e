public import Foundation

/// Who asks, in which role, from where. Made by authentication alone, or by the command line.
public struct Caller: Sendable {
    /// For security events: `client:NAME` or `cli:USER`.
    public let actor: String
    public let clientID: UUID?
    /// The systemuser that the caller acts as.
    public let systemUserID: UUID?
    public let role: Role
    /// The address that the request came from, if it came over a network.
    public let address: String?
    public let requestID: String?

    /// An administrator on the command line, who works on the server's own settings.
    public static func commandLine(user: String) -> Caller {
        Caller(
            actor: "cli:\(user)", clientID: nil, systemUserID: nil, role: .systemAdministrator, address: nil, requestID: nil)
    }
}
