import Authentication
import CellCrypto
import Foundation
import JSON
import KeyManagement
import Model
import Records
import Tenancy

// The operation Execute, which performs a request that is given by its name.
extension OrganizationService {
    func execute(_ request: OrganizationRequest) async throws -> OrganizationResponse {
        if let plan = try await plannedWrites(request) { return plan.response(try await session.write(plan.writes)) }
        switch request.name {
        case "IsDataEncryptionActive", "RetrieveDataEncryptionKey", "SetDataEncryptionKey": return try await encryption(request)
        case "WhoAmI", "RetrieveVersion", "RetrieveCurrentOrganization": return try await surroundings(request)
        case "Retrieve", "RetrieveMultiple": return try await read(request)
        case "Associate", "Disassociate":
            try await link(try LinkRequest(request), isRemoved: request.name == "Disassociate")
            return OrganizationResponse(request.name)
        case "GrantAccess", "ModifyAccess", "RevokeAccess", "RetrievePrincipalAccess", "RetrieveSharedPrincipalsAndAccess",
            "AddMembersTeam", "RemoveMembersTeam":
            return try await sharing(request)
        case "SendEmail": return try await sendEmail(request)
        case "ExecuteMultiple": return try await executeMultiple(request)
        case "ExecuteTransaction": return try await executeTransaction(request)
        case _ where Self.metadataRequests.contains(request.name):
            return try await BackgroundQueue.run { try metadata(request) }
        default:
            throw FieldsealError(.notImplemented, "This service has no request \(request.name.quotedForFault).")
        }
    }

    private func encryption(_ request: OrganizationRequest) async throws -> OrganizationResponse {
        var response = OrganizationResponse(request.name)
        switch request.name {
        case "IsDataEncryptionActive":
            try request.take()
            response.add("IsActive", try await KeyAdministration(session, to: .see).isDataEncryptionActive())
        case "RetrieveDataEncryptionKey":
            try request.take()
            let key = try await KeyAdministration(session, to: .read).retrieveDataEncryptionKey()
            response.add("EncryptionKey", type: XMLName(XMLNamespace.schema, "string")) { writer in
                key.withString { writer.output.appendXML($0) }
            }
        default:
            try request.take("EncryptionKey", "ChangeEncryptionKey")
            guard let change = try request.bool("ChangeEncryptionKey") else {
                throw FieldsealError(.payloadDoesNotFit, "SetDataEncryptionKey takes EncryptionKey and ChangeEncryptionKey.")
            }
            try await KeyAdministration(session, to: change ? .change : .activate).setDataEncryptionKey(
                try request.text("EncryptionKey") ?? "", change: change)
        }
        return response
    }

    private func surroundings(_ request: OrganizationRequest) async throws -> OrganizationResponse {
        var response = OrganizationResponse(request.name)
        switch request.name {
        case "WhoAmI":
            try request.take()
            let (user, unit, organization) = try await session.whoAmI()
            response.add("UserId", user)
            response.add("BusinessUnitId", unit)
            response.add("OrganizationId", organization)
        case "RetrieveVersion":
            try request.take()
            response.add("Version", Contract.version)
        default:
            try request.take("AccessType")
            // The organization has the same address for each type of access.
            guard ["Default", "Internet", "Intranet"].contains(try request.word("AccessType") ?? "Default") else {
                throw request.mismatch("AccessType", "Default, Internet or Intranet")
            }
            let detail = OrganizationDetail(session.organization, root: organizationRoot)
            response.add("Detail", type: XMLName(Contract.organization, "OrganizationDetail")) { detail.write(to: &$0) }
        }
        return response
    }

    private func read(_ request: OrganizationRequest) async throws -> OrganizationResponse {
        var response = OrganizationResponse(request.name)
        if request.name == "RetrieveMultiple" {
            try request.take("Query")
            guard let query = request.element("Query") else { throw request.mismatch("Query", "a query") }
            let page = try await list(query)
            response.records = page.page.records.count
            response.isLong = page.page.isLong
            response.add("EntityCollection", type: XMLName(Contract.xrm, "EntityCollection"), declaring: ResultPage.namespaces) {
                try page.write(to: &$0)
            }
            return response
        }
        try request.take("Target", "ColumnSet", "ReturnRowVersion")
        let target = try request.reference("Target")
        guard let columns = request.element("ColumnSet") else { throw request.mismatch("ColumnSet", "a ColumnSet") }
        try Self.require(.retrieve, of: target.entity)
        let found = try await record(target.entity, try target.key(), try ColumnSet(columns))
        response.isLong = found.page.isLong
        response.add("Entity", type: XMLName(Contract.xrm, "Entity"), declaring: ResultPage.namespaces) {
            try found.writeFirst(to: &$0)
        }
        return response
    }

    private func sendEmail(_ request: OrganizationRequest) async throws -> OrganizationResponse {
        try request.take("EmailId", "IssueSend", "TrackingToken")
        guard let id = try request.id("EmailId") else { throw request.mismatch("EmailId", "a guid") }
        let token = try request.text("TrackingToken")
        guard TrackingToken.isUsable(token ?? "") else { throw request.mismatch("TrackingToken", TrackingToken.form) }
        guard let issue = try request.bool("IssueSend") else { throw request.mismatch("IssueSend", "true or false") }
        var response = OrganizationResponse(request.name)
        response.add("Subject", try await session.sendEmail(id, issue: issue, token: token))
        return response
    }

    private func sharing(_ request: OrganizationRequest) async throws -> OrganizationResponse {
        var response = OrganizationResponse(request.name)
        switch request.name {
        case "AddMembersTeam", "RemoveMembersTeam":
            try request.take("TeamId", "MemberIds")
            guard let team = try request.id("TeamId") else { throw request.mismatch("TeamId", "a guid") }
            let members = try request.ids("MemberIds")
            guard (1...APILimits.bulkCount).contains(members.count) else {
                throw request.mismatch("MemberIds", "1 to \(APILimits.bulkCount) guids")
            }
            try await session.setMembers(members, of: team, areMembers: request.name == "AddMembersTeam")
        case "GrantAccess", "ModifyAccess":
            try request.take("Target", "PrincipalAccess")
            let target = try request.reference("Target")
            guard let element = request.element("PrincipalAccess") else {
                throw request.mismatch("PrincipalAccess", "a PrincipalAccess")
            }
            let access = try ContractMembers(element, of: "PrincipalAccess", ["AccessMask", "Principal"])
            try await session.share(
                target.entity, try await id(of: target), with: try await principal(ContractReference(access.required("Principal"))),
                try AccessRights(names: access.required("AccessMask").text.split(separator: " ").joined(separator: ",")),
                replacing: request.name == "ModifyAccess")
        case "RevokeAccess":
            try request.take("Target", "Revokee")
            let target = try request.reference("Target")
            let revokee = try await principal(try request.reference("Revokee"))
            try await session.unshare(target.entity, try await id(of: target), with: revokee)
        case "RetrievePrincipalAccess":
            try request.take("Target", "Principal")
            let target = try request.reference("Target")
            let rights = try await session.rights(
                of: try await principal(try request.reference("Principal")), on: target.entity, try await id(of: target))
            response.add("AccessRights", type: XMLName(Contract.crm, "AccessRights")) { $0.write(rights.words) }
        default:
            try request.take("Target")
            let target = try request.reference("Target")
            let shares = try await session.shares(of: target.entity, try await id(of: target))
            response.add("PrincipalAccesses", type: XMLName(Contract.crm, "ArrayOfPrincipalAccess")) { writer in
                for (principal, rights) in shares {
                    writer.element("PrincipalAccess", Contract.crm) { writer in
                        writer.text("AccessMask", Contract.crm, rights.words)
                        writer.element("Principal", Contract.crm) { $0.reference(principal.entity, principal.id) }
                    }
                }
            }
        }
        return response
    }

    /// The referenced user or team. A reference to a user's settings means that user, because both have the same id.
    private func principal(_ reference: ContractReference) async throws -> Principal {
        let entity = reference.entity
        let isUser = entity.logicalName == EntityDefinition.userSettings.logicalName
        guard isUser || ["systemuser", "team"].contains(entity.logicalName) else {
            throw FieldsealError(.payloadDoesNotFit, "The principal must be a systemuser or a team, and not \(entity.withArticle).")
        }
        return Principal(
            entity: isUser ? EntityDefinition.systemUser.logicalName : entity.logicalName, id: try await id(of: reference))
    }
}

extension AccessRights {
    /// The names of the rights, separated by spaces, as the contract writes flags.
    fileprivate var words: String { names.split(separator: ",").joined(separator: " ") }
}
