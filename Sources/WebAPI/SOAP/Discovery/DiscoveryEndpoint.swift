import Authentication
import Foundation
import HTTPTypes
import Hummingbird
import JSON
import Logging
import Model
import PostgresClient
import Tenancy

// The Discovery service, over SOAP and as OData: the organizations that a caller may use. Each client belongs to one organization.
extension WebAPI {
    /// Adds the service's routes: at the root, where the token names the organization, and below an organization.
    func addDiscoveryService(to router: Router<APIContext>) {
        for path in ["XRMServices/2011/Discovery.svc", "XRMServices/2011/discovery.svc", "xrmservices/2011/discovery.svc"] {
            for path in [path, "\(path)/web", ":organization/\(path)", ":organization/\(path)/web"] as [String] {
                router.get(RouterPath(path)) { request, context in await describeDiscoveryService(request, context) }
                router.post(RouterPath(path)) { request, context in await discoveryService(request, context) }
            }
        }
        for version in ["v1.0", "v2.0"] {
            for root in ["", ":organization/"] {
                router.get(RouterPath("\(root)api/discovery/\(version)/Instances")) { request, context in
                    try await discovery(request, context, version: version)
                }
            }
        }
    }

    /// The challenge that says where to get a token. At the root, the name of the organization is that of the refused token.
    /// Without a token it is the placeholder `ORGANIZATION`.
    private func discoveryChallenge(_ request: Request, _ context: APIContext) -> String {
        if context.parameters.get("organization") != nil, let address = context.address { return address.challenge }
        let name = Self.organization(ofTokenIn: request, tokens.addresses) ?? "ORGANIZATION"
        let root = "\(tokens.addresses.baseURL)/\(name)"
        return "Bearer authorization_uri=\(root)/oauth2/authorize, resource_id=\(root)/"
    }

    /// The caller's session in the organization of the address, or of the token.
    private func discoverySession(_ request: Request, _ context: APIContext) async throws -> Session {
        let name = context.parameters.get("organization") ?? Self.organization(ofTokenIn: request, tokens.addresses)
        // A token that names no organization was not issued by this service. The empty name makes `client` refuse it.
        let client = try await client(request, name ?? "", context).client
        let borrower = PoolBorrower.principal(client)
        try begin(borrower, context)
        let session = try await PoolBorrower.$current.withValue(borrower) {
            try await Session.begin(
                deployment, organization: name ?? "", client: client, address: context.clientAddress, requestID: context.requestID)
        }
        context.principal.name = session.caller.actor
        return session
    }

    /// The session of the user that the request names, or the caller's own.
    private func session(_ own: Session, for user: ImpersonatedUser?, _ context: APIContext) async throws -> Session {
        guard let user else { return own }
        let session = try await own.impersonating(user)
        context.principal.name = session.caller.actor
        return session
    }

    /// The organization that a token claims to be from. The claim is verified afterwards.
    static func organization(ofTokenIn request: Request, _ addresses: ServiceAddresses) -> String? {
        guard let token = request.headers[.authorization]?.dropFirst("Bearer ".count).trimmed else { return nil }
        let parts = token.split(separator: ".")
        guard parts.count == 3, let payload = Data(base64URL: parts[1]),
            let issuer = (try? JSONParser.parse(Array(payload)))?["iss"]?.string, issuer.hasSuffix("/v2.0")
        else { return nil }
        return addresses.organization(of: String(issuer.dropLast("/v2.0".count)))
    }

    /// The address of the organization: the one in the request, or the default for an organization that the request did not name.
    private func address(_ context: APIContext, of organization: String) -> String {
        if context.parameters.get("organization") != nil, let address = context.address { return address.url }
        return "\(tokens.addresses.baseURL)/\(organization)"
    }

    // MARK: SOAP

    private func describeDiscoveryService(_ request: Request, _ context: APIContext) async -> APIResponse {
        do {
            let names = try ODataQuery.options(request.uri.query).map { $0.name.lowercased() }
            guard names.contains("wsdl") || names.contains("singlewsdl") else {
                _ = try await discoverySession(request, context)
                throw FieldsealError(.badRequest, "This address takes SOAP requests with POST, and describes itself at ?wsdl.")
            }
            let root = context.parameters.get("organization").map { address(context, of: $0) } ?? tokens.addresses.baseURL
            let service = "\(root)/XRMServices/2011/Discovery.svc"
            return description(service, context) { ServiceDescription.discovery(at: service) }
        } catch {
            return refused(discovery: error, request, context, nil)
        }
    }

    private func discoveryService(_ request: Request, _ context: APIContext) async -> APIResponse {
        var message: SOAPMessage?
        do {
            let own: Session
            do {
                own = try await discoverySession(request, context)
            } catch {
                throw await afterDiscardingBody(of: request, error)
            }
            let read = try await readMessage(request, contract: Contract.discovery, upTo: APILimits.bodyLength)
            message = read
            let user = try RequestHeaders.impersonatedUser(request.headers, read)
            let session = try await session(own, for: user, context)
            let body = try answer(read, session, root: address(context, of: session.organization.name))
            return APIResponse(status: .ok, headers: [.contentType: read.version.contentType], body: body)
        } catch {
            return refused(discovery: error, request, context, message)
        }
    }

    private func answer(_ message: SOAPMessage, _ session: Session, root: String) throws -> [UInt8] {
        let operation = try ContractMembers(message.body, of: message.body.local, ["request"])
        guard message.body.local == "Execute" else {
            throw FieldsealError(
                .notImplemented, "The Discovery service has no operation \(message.body.local.quotedForFault).")
        }
        let request = try operation.required("request")
        let detail = OrganizationDetail(session.organization, root: root)
        let kind = request.type?.local ?? ""
        let members = try ContractMembers(
            request, of: kind, ["AccessType", "IsInternalCrossGeoServerRequest", "Release", "UniqueName"])
        guard kind == "RetrieveOrganizationsRequest" || kind == "RetrieveOrganizationRequest" else {
            throw FieldsealError(.notImplemented, "The Discovery service has no request \(kind.quotedForFault).")
        }
        try Self.check(members)
        if kind == "RetrieveOrganizationRequest" {
            let name = try members.required("UniqueName").text
            guard name == session.organization.name else { throw FieldsealError.noSuchOrganization(name) }
        }
        let space = Contract.discovery
        return message.envelope("\(space)/IDiscoveryService/ExecuteResponse") { writer in
            writer.root("ExecuteResponse", default: space) { writer in
                writer.element("ExecuteResult", space, type: XMLName(space, "\(kind.dropLast("Request".count))Response")) {
                    writer in
                    guard kind == "RetrieveOrganizationsRequest" else {
                        return writer.element("Detail", space) { detail.write(to: &$0, namespace: space) }
                    }
                    writer.element("Details", space) { writer in
                        writer.element("OrganizationDetail", space) { detail.write(to: &$0, namespace: space) }
                    }
                }
            }
        }
    }

    /// Refuses unknown values of members that have no effect in this service, because every organization has one address.
    private static func check(_ members: ContractMembers) throws(FieldsealError) {
        guard ["Default", "Internet", "Intranet"].contains(members.text("AccessType") ?? "Default") else {
            throw members.mismatch("AccessType", "Default, Internet or Intranet")
        }
        guard ["Current", "V5"].contains(members.text("Release") ?? "Current") else {
            throw members.mismatch("Release", "Current or V5")
        }
        _ = try members.bool("IsInternalCrossGeoServerRequest")
    }

    private func refused(discovery error: any Error, _ request: Request, _ context: APIContext, _ message: SOAPMessage?)
        -> APIResponse
    {
        let (told, isInternal) = SOAPFault.fault(for: error)
        var fault = told
        if isInternal { context.logger.error("request failed", metadata: ["error": "\(error)"]) }
        fault.contract = "DiscoveryServiceFault"
        let action = "\(Contract.discovery)/IDiscoveryService/ExecuteDiscoveryServiceFaultFault"
        let version = message?.version ?? SOAPVersion(contentType: request.headers[.contentType] ?? "") ?? .v11
        var answer = fault.answer(
            version, action: message?.isAddressed == true ? action : nil, relatesTo: message?.messageID, activity: context.requestID
        )
        if answer.status == .unauthorized { answer.headers[.wwwAuthenticate] = discoveryChallenge(request, context) }
        return answer
    }

    // MARK: OData

    /// Responds as ``instances(_:_:version:)`` does, or with a refusal that says where to get a token.
    private func discovery(_ request: Request, _ context: APIContext, version: String) async throws -> APIResponse {
        do {
            return try await instances(request, context, version: version)
        } catch let error as FieldsealError where error.code == .accessDenied {
            var answer = APIResponse.error(error)
            answer.headers[.wwwAuthenticate] = discoveryChallenge(request, context)
            return answer
        }
    }

    /// `Instances`, as in the global discovery service.
    private func instances(_ request: Request, _ context: APIContext, version: String) async throws -> APIResponse {
        // This check comes first, so that the query of a caller without a valid token is not parsed.
        let own = try await discoverySession(request, context)
        let session = try await session(own, for: try RequestHeaders.impersonatedUser(request.headers), context)
        let view = try MetadataView(try ODataQuery.options(request.uri.query))
        try view.requireExpansions(of: [])
        let root = address(context, of: session.organization.name)
        let base = context.parameters.get("organization") == nil ? tokens.addresses.baseURL : root
        let instance: JSONValue = [
            "ApiUrl": .string(root), "DatacenterId": nil, "DatacenterName": nil, "EnvironmentId": nil,
            "FriendlyName": .string(session.organization.name), "Id": .string(session.organization.id.text),
            "IsUserSysAdmin": .bool(session.caller.role == .systemAdministrator), "LastUpdated": nil, "OrganizationType": 0,
            "Purpose": nil, "Region": nil, "SchemaType": nil, "State": 0, "StatusMessage": 0, "TenantId": nil,
            "TrialExpirationDate": nil, "UniqueName": .string(session.organization.name),
            "Url": .string(root), "UrlName": .string(session.organization.name), "Version": .string(Contract.version),
        ]
        try view.requireMembers(of: [instance])
        return APIResponse.json([
            "@odata.context": .string("\(base)/api/discovery/\(version)/$metadata#Instances"),
            "value": .array(try view.matches(instance) ? [view.selected(instance)] : []),
        ])
    }
}
