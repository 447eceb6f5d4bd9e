import CellCrypto
import Crypto
import CurlClient
import Foundation
import JSON
import Model
import Synchronization
import Tenancy

/// Access tokens for mail servers (RFC 6749). The stored password is a refresh token or a client secret, and never leaves the
/// service. A router gets the access token for which the service exchanged the stored password.
package final class MailOAuthTokens: Sendable {
    /// An application that is registered with a mail server's authorization server.
    struct Application: Sendable {
        /// The token endpoint. `{tenant}` is replaced by the profile's `exchangeonlinetenantid`.
        let tokenEndpoint: String
        let clientID: String
        let grant: Grant
        let scope: String?
        /// The application's own secret, if it has one in addition to the refresh tokens.
        let secret: SecretBytes?

        /// A text that distinguishes this application's tokens for a tenant from those of another application or tenant.
        func audience(tenant: String?) -> String { "\(tokenEndpoint) \(clientID) \(scope ?? "") \(tenant ?? "")" }
    }

    private struct Entry: Decodable {
        /// Hosts of mail servers, as in profiles.
        let servers: [String]
        let tokenEndpoint: String
        let clientId: String
        let grant: Grant
        let scope: String?
        let clientSecretFile: String?
    }

    /// What the stored password is (RFC 6749 sections 4.4 and 6).
    enum Grant: String, Decodable, Sendable {
        case clientCredentials = "client_credentials"
        case refreshToken = "refresh_token"

        /// The errors (RFC 6749 section 5.2, OpenID Connect section 3.1.2.6) that are about the stored password.
        var refusals: Set<String> {
            switch self {
            case .clientCredentials: ["invalid_client", "unauthorized_client", "invalid_grant", "access_denied"]
            case .refreshToken:
                ["invalid_grant", "access_denied", "interaction_required", "consent_required", "login_required"]
            }
        }
    }

    /// The place of a stored password. The access token for the password is cached under this place.
    struct Source: Hashable, Sendable {
        let organization: UUID
        let entity: String
        let record: UUID
        let attribute: String
    }

    /// A token, with the application and the tenant that it was issued for. The token is not used for another application or
    /// tenant.
    private struct Remembered {
        let token: SecretBytes
        let audience: String
        let digest: SHA256Digest
        let goodUntil: Date
    }

    private let applications: [String: Application]
    private let authorityFile: String?
    private let remembered = Mutex<[Source: Remembered]>([:])
    /// Running exchanges on this server, one for each password.
    let exchanges = SingleFlight<Source, SecretBytes>(waiterLimit: 64)
    /// Running requests to authorization servers. Each request blocks a thread.
    let requests = AdmissionGate<String>(
        .init(running: 32, runningPerKey: 8, waiting: 256, waitingPerKey: 128))

    /// A cached token is no longer used if it expires within this many seconds, because a mailbox's turn needs some time.
    private static let margin = 120.0

    /// Makes an object without applications. Without applications nothing is exchanged, and a stored password is an access token
    /// itself.
    package init() { (applications, authorityFile) = ([:], nil) }

    /// Reads the applications from a JSON file.
    ///
    /// - Parameter authorityFile: The CA certificates in PEM for token endpoints; nil for the system's.
    /// - Throws: ``FileError`` when a file can't be read or is invalid.
    package init(file: String, authorityFile: String?) throws(FileError) {
        guard let data = FileManager.default.contents(atPath: file) else {
            throw FileError(file, "can't be read: \(FileStatus.obstacle(toReading: file) ?? "it is not a file")")
        }
        guard let entries = try? JSONDecoder().decode([Entry].self, from: data) else {
            throw FileError(
                file,
                "is not a JSON array of objects with servers, tokenEndpoint, clientId, grant (client_credentials or "
                    + "refresh_token), and optionally scope and clientSecretFile"
            )
        }
        var applications: [String: Application] = [:]
        for entry in entries {
            guard entry.tokenEndpoint.hasPrefix("https://") else { throw FileError(file, "names a token endpoint without https") }
            let application = Application(
                tokenEndpoint: entry.tokenEndpoint, clientID: entry.clientId, grant: entry.grant, scope: entry.scope,
                secret: try entry.clientSecretFile.map(Self.secret))
            for server in entry.servers { applications[server.lowercased()] = application }
        }
        (self.applications, self.authorityFile) = (applications, authorityFile)
    }

    private static func secret(in file: String) throws(FileError) -> SecretBytes {
        guard let text = FileManager.default.contents(atPath: file) else {
            throw FileError(file, "can't be read: \(FileStatus.obstacle(toReading: file) ?? "it is not a file")")
        }
        let end = text.firstIndex { $0 == UInt8(ascii: "\n") || $0 == UInt8(ascii: "\r") } ?? text.endIndex
        return text[..<end].withUnsafeBytes(SecretBytes.init(copying:))
    }

    /// The reason for which the applications can't be read.
    package struct FileError: Error, CustomStringConvertible {
        package let description: String
        init(_ file: String, _ what: String) { description = "\(file) \(what)" }
    }

    /// The application for a mail server's tokens; nil if the stored password is a token itself.
    func application(for server: String) -> Application? { applications[server.lowercased()] }

    /// Whether an application is registered for a mail server's tokens.
    package func hasApplication(for server: String) -> Bool { application(for: server) != nil }

    /// A cached token for exactly this password.
    func token(for source: Source, _ password: SecretBytes, of application: Application, tenant: String?) -> SecretBytes? {
        let digest = Self.digest(password)
        let audience = application.audience(tenant: tenant)
        return remembered.withLock { known in
            guard let entry = known[source], entry.digest == digest, entry.audience == audience, entry.goodUntil > Date() else {
                return nil
            }
            return entry.token
        }
    }

    func remember(_ grant: Answer, for source: Source, _ password: SecretBytes, of application: Application, tenant: String?) {
        let goodUntil = Date().addingTimeInterval(grant.seconds - Self.margin)
        let digest = Self.digest(password)
        remembered.withLock { known in
            known = known.filter { $0.value.goodUntil > Date() }
            known[source] = Remembered(
                token: grant.token, audience: application.audience(tenant: tenant), digest: digest, goodUntil: goodUntil)
        }
    }

    private static func digest(_ password: SecretBytes) -> SHA256Digest { password.withBytes { SHA256.hash(data: $0) } }

    /// The response of an authorization server.
    struct Answer {
        let token: SecretBytes
        /// The lifetime in seconds.
        let seconds: Double
        /// The new refresh token (RFC 6749 section 6), if there is one.
        let refreshToken: SecretBytes?
    }

    private struct Reply: Decodable {
        let accessToken: String
        let seconds: Double?
        let refreshToken: String?

        enum CodingKeys: String, CodingKey {
            case accessToken = "access_token"
            case seconds = "expires_in"
            case refreshToken = "refresh_token"
        }
    }

    /// Exchanges a stored password for an access token.
    ///
    /// - Throws: ``FieldsealError``: `.profileNotAssociated` when the authorization server refuses the password; `.unexpected` when
    ///   the server is unreachable.
    func exchange(_ password: SecretBytes, by application: Application, tenant: String?) async throws -> Answer {
        var endpoint = application.tokenEndpoint
        if endpoint.contains("{tenant}") {
            // The tenant must be one path segment, so that a profile can't send a secret to another address.
            guard let tenant, !tenant.isEmpty, !tenant.hasPrefix("."),
                tenant.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-.".contains($0)) })
            else { throw FieldsealError(.profileNotAssociated, "The profile's exchangeonlinetenantid names no tenant.") }
            endpoint = endpoint.replacing("{tenant}", with: tenant)
        }
        var request = HTTPSRequest(endpoint)
        request.method = "POST"
        request.authorityFile = authorityFile
        request.headers = ["Content-Type: application/x-www-form-urlencoded", "Accept: application/json"]
        var form = ["grant_type=\(application.grant.rawValue)"]
        func encoded(_ secret: SecretBytes) -> String {
            secret.withBytes { String(decoding: $0, as: UTF8.self).formEncoded }
        }
        var secret = application.secret
        switch application.grant {
        case .clientCredentials: secret = password
        case .refreshToken: form.append("refresh_token=\(encoded(password))")
        }
        if let secret {
            // RFC 6749 section 2.3.1: client id and secret are form-encoded before they become user name and password.
            let pair = "\(application.clientID.formEncoded):\(encoded(secret))"
            request.headers.append("Authorization: Basic \(Data(pair.utf8).base64EncodedString())")
        } else {
            form.append("client_id=\(application.clientID.formEncoded)")
        }
        if let scope = application.scope { form.append("scope=\(scope.formEncoded)") }
        request.body = Array(form.joined(separator: "&").utf8)
        let answer: HTTPSRequest.Answer
        do {
            let request = request
            answer = try await requests.run(endpoint) { try await request.send() }
        } catch {
            throw FieldsealError(
                .unexpected, "The authorization server of \(application.clientID.quotedForMessage) can't be reached: \(error)")
        }
        guard answer.status < 500, answer.status != 429 else {
            throw FieldsealError(
                .unexpected, "The authorization server of \(application.clientID.quotedForMessage) answers \(answer.status).")
        }
        guard answer.status == 200, let reply = try? JSONDecoder().decode(Reply.self, from: Data(answer.body)) else {
            throw Self.refusal(answer, of: application)
        }
        func bytes(_ text: String) -> SecretBytes { Data(text.utf8).withUnsafeBytes(SecretBytes.init(copying:)) }
        return Answer(
            token: bytes(reply.accessToken), seconds: reply.seconds ?? 300,
            refreshToken: application.grant == .refreshToken ? reply.refreshToken.map(bytes) : nil)
    }

    /// The error for a response without a token. The error blames the stored password, the application, or an address that is no
    /// authorization server.
    private static func refusal(_ answer: HTTPSRequest.Answer, of application: Application) -> FieldsealError {
        let reason = reason(answer)
        guard answer.status >= 400, application.grant.refusals.contains(reason) else {
            return FieldsealError(
                .unexpected,
                "The authorization server of \(application.clientID.quotedForMessage) gave no access token (\(reason)). Correct the file that "
                    + "mail.applicationsFile names. The router keeps trying."
            )
        }
        return FieldsealError(
            .profileNotAssociated,
            "The authorization server of \(application.clientID.quotedForMessage) refuses the stored password (\(reason)). Set a "
                + "new \(application.grant == .refreshToken ? "refresh token" : "client secret") as the password.")
    }

    /// The error code in the response (RFC 6749 section 5.2). The rest is left out, because a server might copy the request into
    /// its response.
    private static func reason(_ answer: HTTPSRequest.Answer) -> String {
        struct Failure: Decodable { let error: String }
        let code = (try? JSONDecoder().decode(Failure.self, from: Data(answer.body)))?.error ?? ""
        let isCode = !code.isEmpty && code.utf8.count <= 40 && code.allSatisfy { $0.isASCII && ($0.isLetter || $0 == "_") }
        return isCode ? code : "status \(answer.status)"
    }
}
