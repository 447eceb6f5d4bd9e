import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Functions that clients of Dataverse call when they connect: the organization, its version and languages, and the numbers of
// records.
extension DataAPI {
    /// The functions that are not bound to a record, with their parameters in the order of Dataverse's reference.
    static let startupFunctions: [String: [String]] = [
        "RetrieveVersion": [], "RetrieveCurrentOrganization": ["AccessType"], "RetrieveTotalRecordCount": ["EntityNames"],
        "RetrieveAvailableLanguages": [], "RetrieveProvisionedLanguages": [], "RetrieveDeprovisionedLanguages": [],
        "RetrieveInstalledLanguagePacks": [],
    ]

    /// The Dataverse version whose interface the service has.
    private static let version = "9.2.0.0"
    /// 1033 means US English, the only language of the Web API's texts.
    private static let languages: JSONValue = [1033]

    /// Responds to one of ``startupFunctions``.
    func startupFunction(_ name: String, _ arguments: String, _ request: APIRequest) async throws -> APIResponse {
        guard request.method == .get else { throw MethodNotAllowed(.get) }
        let given = try FunctionArguments(arguments, request.query, of: name, Self.startupFunctions[name] ?? [])
        let members: [JSONValue.Member]
        switch name {
        case "RetrieveVersion": members = [.init("Version", .string(Self.version))]
        case "RetrieveCurrentOrganization":
            try checkAccessType(given["AccessType"])
            members = [.init("Detail", try await organizationDetail())]
        case "RetrieveTotalRecordCount":
            members = [.init("EntityRecordCountCollection", try await recordCounts(try given.names("EntityNames")))]
        case "RetrieveAvailableLanguages": members = [.init("LocaleIds", Self.languages)]
        case "RetrieveDeprovisionedLanguages": members = [.init(name, [])]
        default: members = [.init(name, Self.languages)]
        }
        return APIResponse.json(.object([representation(request).context("Microsoft.Dynamics.CRM.\(name)Response")] + members))
    }

    private func checkAccessType(_ value: JSONValue?) throws(FieldsealError) {
        let types = ["Default", "Internet", "Intranet"]
        guard let type = value?.string, types.contains(type) else {
            throw FieldsealError(
                .badRequest,
                "RetrieveCurrentOrganization takes AccessType, one of \(types.joined(separator: ", ")): (AccessType='Default').")
        }
    }

    /// Dataverse's type `OrganizationDetail`. Members that exist only in Dataverse's cloud are null.
    private func organizationDetail() async throws -> JSONValue {
        let organization = session.organization
        let root =
            serviceRoot.range(of: "/api/data/", options: .backwards).map { String(serviceRoot[..<$0.lowerBound]) } ?? serviceRoot
        let endpoints: KeyValuePairs<String, String> = [
            "WebApplication": "\(root)/", "OrganizationService": "\(root)/XRMServices/2011/Organization.svc",
        ]
        return [
            "OrganizationId": .string(organization.id.text),
            "FriendlyName": .string(organization.name),
            "OrganizationVersion": .string(Self.version),
            "EnvironmentId": .string(organization.id.text),
            "DatacenterId": nil,
            "Geo": nil,
            "TenantId": .string(organization.id.text),
            "UrlName": .string(organization.name),
            "UniqueName": .string(organization.name),
            "State": "Enabled",
            "SchemaType": "Full",
            "OrganizationType": "Customer",
            "Endpoints": Self.collection(endpoints.map { ($0.key, .string($0.value)) }),
        ]
    }

    /// How many records the caller may read of each entity.
    private func recordCounts(_ names: [String]) async throws -> JSONValue {
        var counts: [(String, JSONValue)] = []
        for name in names {
            guard let entity = EntityCatalog.entity(name) else {
                throw FieldsealError(.queryDoesNotFit, "There is no entity '\(name.prefix(100))' to count.")
            }
            guard !counts.contains(where: { $0.0 == name }) else {
                throw FieldsealError(.badRequest, "EntityNames has '\(name.prefix(100))' twice.")
            }
            counts.append((name, .integer(Int64(try await session.count(entity, nil)))))
        }
        return Self.collection(counts)
    }

    /// A dictionary as Dataverse writes it: an object with the arrays `Keys` and `Values`.
    private static func collection(_ pairs: [(String, JSONValue)]) -> JSONValue {
        [
            "Count": .integer(Int64(pairs.count)), "IsReadOnly": false, "Keys": .array(pairs.map { .string($0.0) }),
            "Values": .array(pairs.map(\.1)),
        ]
    }
}
