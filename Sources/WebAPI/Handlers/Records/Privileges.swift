import Authentication
import Foundation
import JSON
import Model
import Tenancy

// The privileges of a user's roles, by Dataverse's names.
extension DataAPI {
    /// The functions that are bound to a systemuser, with their parameters.
    static let privilegeFunctions: [String: [String]] = [
        "RetrieveUserPrivileges": [], "RetrieveUserPrivilegeByPrivilegeName": ["PrivilegeName"],
        "RetrieveUserPrivilegeByPrivilegeId": ["PrivilegeId"], "RetrieveUserSetOfPrivilegesByNames": ["PrivilegeNames"],
    ]

    /// Responds to one of ``privilegeFunctions``.
    func privileges(_ name: String, of user: UUID, _ arguments: String, _ request: APIRequest) async throws -> APIResponse {
        let given = try FunctionArguments(arguments, request.query, of: name, Self.privilegeFunctions[name] ?? [])
        var wanted: Set<String>?
        if given["PrivilegeNames"] != nil { wanted = Set(try given.names("PrivilegeNames")) }
        if let one = given["PrivilegeName"]?.string ?? given["PrivilegeId"]?.string { wanted = [one.lowercased(), one] }
        if given["PrivilegeName"] ?? given["PrivilegeId"] != nil, wanted == nil {
            throw FieldsealError(.badRequest, "\(name) takes the name or the id of a privilege in quotes.")
        }
        let (unit, all) = try await session.privileges(of: user)
        let shown = all.filter { privilege in
            wanted.map { $0.contains(privilege.name) || $0.contains(MetadataJSON.privilegeID(privilege.name)) } ?? true
        }
        let rows = shown.map { privilege -> JSONValue in
            [
                "Depth": .string(privilege.depth.name), "PrivilegeId": .string(MetadataJSON.privilegeID(privilege.name)),
                "BusinessUnitId": .string(unit.text), "PrivilegeName": .string(privilege.name),
                "RecordFilterId": "00000000-0000-0000-0000-000000000000", "RecordFilterUniqueName": nil,
            ]
        }
        return APIResponse.json(
            .object([
                representation(request).context("Microsoft.Dynamics.CRM.\(name)Response"), .init("RolePrivileges", .array(rows)),
            ]))
    }
}

extension PrivilegeDepth {
    /// The name in Dataverse's PrivilegeDepth.
    fileprivate var name: String {
        switch self {
        case .none: "None"
        case .own: "Basic"
        case .businessUnit: "Local"
        case .organization: "Global"
        }
    }
}
