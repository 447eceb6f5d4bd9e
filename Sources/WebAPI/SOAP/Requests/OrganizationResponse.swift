import Foundation
import JSON
import Model

/// The response of Execute.
struct OrganizationResponse {
    let name: String
    private(set) var results: [(key: String, write: (inout ContractWriter) throws -> Void)] = []

    /// How many records the results have.
    var records = 0
    /// Whether the response takes long to write.
    var isLong: Bool

    init(_ name: String) {
        self.name = name
        // These responses may hold all metadata or many responses.
        isLong = OrganizationService.metadataRequests.contains(name) || ["ExecuteMultiple", "ExecuteTransaction"].contains(name)
    }

    /// Requests whose classes belong to the namespace of the CRM's messages. The other classes belong to the contracts' namespace.
    private static let crmRequests: Set<String> = [
        "AddMembersTeam", "Assign", "GrantAccess", "ModifyAccess", "RemoveMembersTeam", "RetrieveCurrentOrganization",
        "RetrievePrincipalAccess", "RetrieveSharedPrincipalsAndAccess", "RetrieveVersion", "RevokeAccess", "SendEmail", "SetState",
        "WhoAmI",
    ]
    /// Requests without a dedicated class.
    private static let untyped: Set<String> = ["CreateMultiple", "UpdateMultiple", "UpsertMultiple"]

    private var type: XMLName? {
        if Self.untyped.contains(name) { return nil }
        return XMLName(Self.crmRequests.contains(name) ? Contract.crm : Contract.xrm, "\(name)Response")
    }

    /// Writes the response as an element with the name `local`.
    func write(_ local: String, _ namespace: String, to writer: inout ContractWriter) throws {
        try writer.element(local, namespace, type: type, declaring: [Contract.xrm, XMLNamespace.instance]) { writer in
            writer.text("ResponseName", Contract.xrm, name)
            try writer.element("Results", Contract.xrm, declaring: [Contract.pairs]) { writer in
                for (key, write) in results {
                    try writer.element("KeyValuePairOfstringanyType", Contract.xrm) { writer in
                        writer.text("key", Contract.pairs, key)
                        try write(&writer)
                    }
                }
            }
        }
    }

    // MARK: Results

    /// Adds a result. `body` writes the contents of the result.
    mutating func add(
        _ key: String, type: XMLName, declaring: [String] = [], _ body: @escaping (inout ContractWriter) throws -> Void
    ) {
        results.append(
            (key, { try $0.element("value", Contract.pairs, type: type, declaring: declaring, body) }))
    }

    mutating func add(_ key: String, _ text: String) {
        add(key, type: XMLName(XMLNamespace.schema, "string")) { $0.output.appendXML(text) }
    }

    mutating func add(_ key: String, _ flag: Bool) {
        add(key, type: XMLName(XMLNamespace.schema, "boolean")) { $0.write(String(flag)) }
    }

    mutating func add(_ key: String, _ id: UUID) {
        add(key, type: XMLName(Contract.serialization, "guid")) { $0.output.append(id) }
    }

    mutating func add(_ key: String, _ ids: [UUID]) {
        add(key, type: XMLName(Contract.arrays, "ArrayOfguid")) { writer in
            for id in ids { writer.text("guid", Contract.arrays, id.text) }
        }
    }

    mutating func add(_ key: String, _ entity: EntityDefinition, _ id: UUID) {
        add(key, type: XMLName(Contract.xrm, "EntityReference")) { $0.reference(entity.logicalName, id) }
    }
}

extension ContractWriter {
    /// Writes the contents of an `EntityReference`.
    mutating func reference(_ entity: String, _ id: UUID) {
        text("Id", Contract.xrm, id.text)
        element("KeyAttributes", Contract.xrm, declaring: [Contract.keys]) { _ in }
        text("LogicalName", Contract.xrm, entity)
        null("Name", Contract.xrm)
        null("RowVersion", Contract.xrm)
    }
}
