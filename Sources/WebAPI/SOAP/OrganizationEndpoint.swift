import Authentication
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import Model
import PostgresClient
import Tenancy

// The Organization service's addresses: `/{organization}/XRMServices/2011/Organization.svc`, and `/web` below it.
extension WebAPI {
    /// The addresses below an organization's address.
    private static let paths = [
        "XRMServices/2011/Organization.svc", "XRMServices/2011/organization.svc", "xrmservices/2011/organization.svc",
    ]

    /// Adds the service's routes. SOAP requests need a token; the service's description and OPTIONS do not.
    func addOrganizationService(to router: Router<APIContext>) {
        for path in Self.paths.flatMap({ [$0, "\($0)/web"] }) {
            let path = RouterPath(":organization/\(path)")
            router.get(path) { request, context in await describeOrganizationService(request, context) }
            router.post(path, use: organizationService)
            router.on(path, method: .options) { _, _ in APIResponse.noContent([.allow: "GET, HEAD, POST, OPTIONS"]) }
        }
    }

    /// Whether a path belongs to SOAP, whose clients parse faults.
    static func isSOAP(_ path: String) -> Bool { path.contains(ascii: "/xrmservices/2011/", ignoringCase: true) }

    /// The fault for an error, if only the request's headers are known.
    static func fault(for error: any Error, _ request: Request, activity: String) -> APIResponse {
        let version = SOAPVersion(contentType: request.headers[.contentType] ?? "") ?? .v11
        return SOAPFault.fault(for: error).fault.answer(version, activity: activity)
    }

    /// Responds to a GET: with the description for `?wsdl`, and otherwise with a refusal. If there is no valid token, the refusal
    /// says where to get a token.
    private func describeOrganizationService(_ request: Request, _ context: APIContext) async -> APIResponse {
        do {
            let organization = try context.parameters.require("organization")
            let names = try ODataQuery.options(request.uri.query).map { $0.name.lowercased() }
            if names.contains("wsdl") || names.contains("singlewsdl") {
                let address = try serviceAddress(request, context)
                return description(address, context) { ServiceDescription.organization(at: address) }
            }
            _ = try await client(request, organization, context)
            throw FieldsealError(.badRequest, "This address takes SOAP requests with POST, and describes itself at ?wsdl.")
        } catch {
            return challenged(Self.fault(for: error, request, activity: context.requestID), context)
        }
    }

    /// Responds with the description of a service. A request for a description needs no token.
    func description(_ address: String, _ context: APIContext, _ make: () -> [UInt8]) -> APIResponse {
        do {
            try begin(.network(context.network), context)
        } catch {
            // Programs that fetch a description do not parse faults of SOAP.
            return APIResponse.answer(to: error).answer
        }
        var answer = APIResponse(status: .ok, headers: [.contentType: "text/xml; charset=utf-8"], body: [])
        answer.document = documents.document(address, make)
        return answer
    }

    private func serviceAddress(_ request: Request, _ context: APIContext) throws -> String {
        let path = request.uri.path.hasSuffix("/web") ? "/web" : ""
        return "\(try context.organizationAddress().url)/XRMServices/2011/Organization.svc\(path)"
    }

    /// If `answer` refuses a request because it has no valid token, adds the header that says where to get a token.
    private func challenged(_ answer: APIResponse, _ context: APIContext) -> APIResponse {
        guard answer.status == .unauthorized, let address = context.address else { return answer }
        var answer = answer
        answer.headers[.wwwAuthenticate] = address.challenge
        return answer
    }

    func organizationService(_ request: Request, _ context: APIContext) async -> APIResponse {
        guard BackgroundExecutor.isNeeded(by: request) else { return await serve(request, context) }
        return await withTaskExecutorPreference(BackgroundExecutor.shared) { await serve(request, context) }
    }

    private func serve(_ request: Request, _ context: APIContext) async -> APIResponse {
        let message: SOAPMessage
        let organization: String
        let token: VerifiedToken
        do {
            organization = try context.address?.organization ?? context.parameters.require("organization")
            token = try await client(request, organization, context)
        } catch {
            return refused(await afterDiscardingBody(of: request, error), request, context, nil)
        }
        let borrower = PoolBorrower.principal(token.client)
        do {
            try begin(borrower, context)
        } catch {
            return refused(await afterDiscardingBody(of: request, error), request, context, nil)
        }
        let share = largeBodies.share(of: borrower)
        defer { share.end() }
        do {
            message = try await readMessage(request, contract: Contract.services, upTo: APILimits.bulkLength, share)
        } catch {
            return refused(error, request, context, nil)
        }
        do {
            return try await PoolBorrower.$current.withValue(borrower) {
                let user = try RequestHeaders.impersonatedUser(request.headers, message)
                context.hold.isRead = OrganizationService.isRead(message.body)
                return try await answer(message, for: user, organization, token, context)
            }
        } catch {
            return refused(error, request, context, message)
        }
    }

    private func refused(_ error: any Error, _ request: Request, _ context: APIContext, _ message: SOAPMessage?) -> APIResponse {
        let (fault, isInternal) = SOAPFault.fault(for: error)
        if isInternal { context.logger.error("request failed", metadata: ["error": "\(error)"]) }
        let version = message?.version ?? SOAPVersion(contentType: request.headers[.contentType] ?? "") ?? .v11
        let action = message.flatMap { $0.isAddressed ? Self.action($0, "OrganizationServiceFaultFault") : nil }
        return challenged(
            fault.answer(version, action: action, relatesTo: message?.messageID, activity: context.requestID), context)
    }

    private static func action(_ message: SOAPMessage, _ suffix: String) -> String {
        "\(Contract.services)/IOrganizationService/\(message.body.local)\(suffix)"
    }

    /// Parses the envelope in a request's body.
    func readMessage(_ request: Request, contract: String, upTo limit: Int, _ share: LargeBodies.Share? = nil) async throws
        -> SOAPMessage
    {
        let type = request.headers[.contentType] ?? ""
        guard let version = SOAPVersion(contentType: type) else {
            throw await afterDiscardingBody(
                of: request,
                FieldsealError(
                    .badRequest,
                    "The content type of a SOAP request must be text/xml (SOAP 1.1) or application/soap+xml (SOAP 1.2)."))
        }
        let bytes = try await body(request, upTo: limit, share)
        let document = try XMLReader.read(bytes, charset: ContentTypeParameter.value("charset", in: type))
        let action =
            version == .v11
            ? request.headers[.soapAction].map { $0.trimmingCharacters(in: ["\"", " "]) }
            : ContentTypeParameter.value("action", in: type)
        let message = try SOAPMessage(
            document, contract: contract, action: action.flatMap { $0.isEmpty ? nil : $0 })
        guard message.version == version else { throw SOAPFault.versionMismatch }
        return message
    }

    private func answer(
        _ message: SOAPMessage, for user: ImpersonatedUser?, _ organization: String, _ token: VerifiedToken, _ context: APIContext
    ) async throws -> APIResponse {
        let sessions = ClientSessions(
            deployment, organization: organization, client: token.client, address: context.clientAddress,
            requestID: context.requestID, signedInOn: token.signedInOn)
        return try await sessions.run(
            mayAssume: user == nil && OrganizationService.mayAssume(message.body),
            onBegin: { context.principal.name = $0.caller.actor }
        ) { own in
            var session = own
            if let user {
                session = try await own.impersonating(user)
                context.principal.name = session.caller.actor
            }
            let service = OrganizationService(
                session: session, sessions: sessions, user: user, organizationRoot: try context.organizationAddress().url,
                requestID: context.requestID, peer: context.peer)
            // No other code refers to what the closure captured.
            nonisolated(unsafe) let answer = try await service.answer(message.body)
            let action = Self.action(message, "Response")
            let body =
                answer.isLong
                ? try await BackgroundQueue.run { try message.envelope(action, answer.write) }
                : try message.envelope(action, answer.write)
            return APIResponse(
                status: .ok, headers: [.contentType: message.version.contentType, .cacheControl: "no-store"], body: body)
        }
    }
}

extension HTTPField.Name {
    /// The operation of a SOAP 1.1 message.
    static let soapAction = HTTPField.Name(known: "SOAPAction")
}
