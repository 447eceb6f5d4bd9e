import Authentication
import CellCrypto
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Model
import PostgresClient
import Tenancy

extension WebAPI {
    /// Authenticates a request by its bearer token (RFC 6750 section 2.1). A token that is bound to a certificate is accepted only
    /// on connections with that certificate (RFC 8705 section 3).
    func client(_ request: Request, _ organization: String, _ context: APIContext) async throws -> VerifiedToken {
        let verified = try await verifiedToken(request, organization, context)
        guard let certificate = verified.certificate else { return verified }
        guard let shown = await PeerCertificate.digest(on: context.channel), constantTimeEqual(shown, certificate) else {
            throw FieldsealError(
                .accessDenied,
                "The access token is bound to a client certificate, and this connection does not show that certificate. Connect "
                    + "with the certificate with which the token was asked for.")
        }
        return verified
    }

    private func verifiedToken(_ request: Request, _ organization: String, _ context: APIContext) async throws -> VerifiedToken {
        guard let header = request.headers[.authorization] else {
            throw FieldsealError(.accessDenied, "The request has no access token: Authorization: Bearer TOKEN.")
        }
        guard header.utf8.count > 7, header.prefix(7).lowercased() == "bearer " else {
            throw FieldsealError(.accessDenied, "The Authorization header is not of the form Bearer TOKEN.")
        }
        let token = String(header.dropFirst(7).trimmed)
        if let client = try await tokens.known(token, for: organization) { return client }
        return try await PoolBorrower.$current.withValue(.network(context.network)) {
            try await tokens.verify(token, for: organization)
        }
    }

    /// Revokes a token that arrived on the listener without TLS. An invalid token is ignored.
    ///
    /// - Parameter addressed: The organization of the request's address. A token that names another organization is revoked in that
    /// organization.
    func noteExposure(of token: String, for addressed: String?, _ context: APIContext, address: String?) async {
        guard let organization = tokens.claimedOrganization(of: token) ?? addressed else { return }
        do {
            try await PoolBorrower.$current.withValue(.network(address.map(IPAddress.network) ?? "")) {
                let client = try await tokens.verify(token, for: organization).client
                let organization = try await Session.organization(named: organization, in: deployment)
                try await tokens.exposed.record(
                    token, of: client, in: organization, address: address, requestID: context.requestID)
            }
            context.logger.warning(
                "a token was sent without encryption, and is refused from now on", metadata: ["address": "\(address ?? "")"])
        } catch {
            context.logger.debug("a token that is not valid was sent without encryption")
        }
    }

    /// Reads a refused request's body to its end and discards it. Otherwise a client that is still sending would see a reset
    /// connection instead of the refusal.
    ///
    /// - Returns: The refusal, or 413 for a body that is too long.
    func afterDiscardingBody(of request: Request, _ refusal: any Error) async -> any Error {
        if let length = request.headers[.contentLength].flatMap(Int.init), length > APILimits.bulkLength {
            return HTTPError(.contentTooLarge)
        }
        var count = 0
        do {
            for try await part in request.body {
                count += part.readableBytes
                guard count <= APILimits.bulkLength else { return HTTPError(.contentTooLarge) }
            }
            return refusal
        } catch {
            return error
        }
    }

    /// Reads the body.
    ///
    /// - Parameters:
    ///   - limit: The largest body in bytes.
    ///   - share: Counts the bytes of a large body.
    func body(_ request: Request, upTo limit: Int = APILimits.bodyLength, _ share: LargeBodies.Share? = nil) async throws -> [UInt8]
    {
        let length = request.headers[.contentLength].flatMap { Int($0) }
        // The declared length is too large, so the body is refused before it is read.
        if let length, length > limit { throw HTTPError(.contentTooLarge) }
        guard let share, length ?? limit > APILimits.bodyLength else {
            return Array(try await request.body.collect(upTo: limit).readableBytesView)
        }
        if let length { try share.hold(length) }
        var bytes: [UInt8] = []
        for try await buffer in request.body {
            let count = bytes.count + buffer.readableBytes
            guard count <= limit else { throw HTTPError(.contentTooLarge) }
            try share.hold(count)
            bytes.append(contentsOf: buffer.readableBytesView)
        }
        return bytes
    }
}
