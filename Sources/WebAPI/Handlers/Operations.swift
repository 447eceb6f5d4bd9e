import CellCrypto
import Foundation
import HTTPTypes
import JSON
import KeyManagement
import Model
import Records

// Functions and actions that are not bound to an entity.
extension DataAPI {
    private static let withoutParameters: Set<String> = [
        "BulkDelete", "GrantAccess", "IsDataEncryptionActive", "ModifyAccess", "RetrieveDataEncryptionKey",
        "RetrieveDataEncryptionKeyChange", "RevokeAccess", "SetDataEncryptionKey", "WhoAmI",
    ]

    /// Operations of Dataverse that are refused with a reason.
    static let refusedOperations: Set = ["CreateEntities", "CreateAttribute"]

    func operation(_ name: String, _ arguments: String, _ request: APIRequest) async throws -> APIResponse {
        let representation = representation(request)
        if let answer = try await keyControlOperation(name, arguments, request) { return answer }
        if name.hasPrefix("fieldseal.") {
            guard MetadataOperations.isAction(name) != nil else { throw ODataPath.unknown(name) }
            return try await routerOperation(String(name.dropFirst("fieldseal.".count)), request)
        }
        guard arguments.isEmpty || !Self.withoutParameters.contains(name) else {
            throw FieldsealError(.badRequest, "\(name) takes no parameters in parentheses.")
        }
        switch (name, request.method) {
        case ("BulkDelete", _): return try await bulkDelete(request)
        case ("GrantAccess", _), ("ModifyAccess", _), ("RevokeAccess", _): return try await share(name, request)
        case ("RetrieveSharedPrincipalsAndAccess", _): return try await sharedPrincipals(arguments, request)
        case ("RetrieveMetadataChanges", .get):
            return try await BackgroundQueue.run { try metadataChanges(arguments, request) }
        case ("CreateEntities", _), ("CreateAttribute", _): throw Self.schemaIsFixed
        case ("WhoAmI", .get):
            let (user, unit, organization) = try await session.whoAmI()
            return APIResponse.json(
                .object([
                    representation.context("Microsoft.Dynamics.CRM.WhoAmIResponse"),
                    .init("BusinessUnitId", .string(unit.text)),
                    .init("UserId", .string(user.text)),
                    .init("OrganizationId", .string(organization.text)),
                ]))
        case ("IsDataEncryptionActive", .get):
            let isActive = try await KeyAdministration(session, to: .see).isDataEncryptionActive()
            return APIResponse.json(
                .object([
                    representation.context("Microsoft.Dynamics.CRM.IsDataEncryptionActiveResponse"),
                    .init("IsActive", .bool(isActive)),
                ]))
        case ("RetrieveDataEncryptionKey", .get):
            let key = try await KeyAdministration(session, to: .read).retrieveDataEncryptionKey()
            return key.withString { text in
                APIResponse.json(
                    .object([
                        representation.context("Microsoft.Dynamics.CRM.RetrieveDataEncryptionKeyResponse"),
                        .init("EncryptionKey", .string(text)),
                    ]),
                    headers: [.cacheControl: "no-store"])
            }
        case ("RetrieveDataEncryptionKeyChange", .get):
            return APIResponse.json(try await keyChange(representation), headers: [.cacheControl: "no-store"])
        case ("SetDataEncryptionKey", .post):
            return try await setDataEncryptionKey(request)
        case ("WhoAmI", _), ("IsDataEncryptionActive", _), ("RetrieveDataEncryptionKey", _),
            ("RetrieveDataEncryptionKeyChange", _), ("RetrieveMetadataChanges", _):
            throw MethodNotAllowed(.get)
        case ("SetDataEncryptionKey", _): throw MethodNotAllowed(.post)
        case _ where Self.startupFunctions[name] != nil: return try await startupFunction(name, arguments, request)
        default: throw ODataPath.unknown(name)
        }
    }

    /// The progress of a running key change. Dataverse has no such function.
    private func keyChange(_ representation: Representation) async throws -> JSONValue {
        let progress = try await KeyAdministration(session, to: .see).keyChangeProgress()
        func number(_ value: Double?) -> JSONValue { value.map { .number(String(format: "%.1f", $0)) } ?? .null }
        return .object([
            representation.context("Microsoft.Dynamics.CRM.RetrieveDataEncryptionKeyChangeResponse"),
            .init("IsRunning", .bool(progress != nil)),
            .init("Phase", .text(progress?.phase.rawValue)),
            .init("Cells", progress.map { .integer(Int64($0.cells)) } ?? .null),
            .init("EstimatedTotal", progress?.total.map { .integer(Int64($0)) } ?? .null),
            .init("Percent", progress?.percent.map { .integer(Int64($0)) } ?? .null),
            .init("CellsPerSecond", number(progress?.rate)),
            .init("SecondsLeft", number(progress?.secondsLeft)),
            .init("StartedBy", .text(progress?.startedBy)),
        ])
    }

    private func setDataEncryptionKey(_ request: APIRequest) async throws -> APIResponse {
        let members = try request.members()
        var key: String?
        var change: Bool?
        for member in members {
            switch (member.name, member.value) {
            case ("EncryptionKey", .string(let text)): key = text
            case ("ChangeEncryptionKey", .bool(let flag)): change = flag
            case ("EncryptionKey", .null): key = ""
            case ("EncryptionKey", _), ("ChangeEncryptionKey", _):
                throw FieldsealError(.payloadDoesNotFit, "EncryptionKey takes a string, and ChangeEncryptionKey true or false.")
            default:
                throw FieldsealError(.payloadDoesNotFit, "SetDataEncryptionKey has no parameter '\(member.name.prefix(100))'.")
            }
        }
        guard let key, let change else {
            throw FieldsealError(.payloadDoesNotFit, "SetDataEncryptionKey takes EncryptionKey and ChangeEncryptionKey.")
        }
        try await KeyAdministration(session, to: change ? .change : .activate).setDataEncryptionKey(key, change: change)
        return APIResponse.noContent()
    }
}
