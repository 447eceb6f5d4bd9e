import Authentication
import Foundation
import JSON
import Model
import Records
import Tenancy

/// The Organization service for one caller: its eight operations. Each operation is an element in the body of a request, and has an
/// element in the body of the response.
///
/// It converts contracts to the values to which the Web API converts JSON, and uses the same methods of ``Session``.
struct OrganizationService: Sendable {
    var session: Session
    /// Begins a session for each request of ExecuteMultiple. So a right that is revoked meanwhile is missing from the next
    /// request on.
    let sessions: ClientSessions
    /// The user in whose name the client makes this request; nil if the client acts in its own name.
    let user: ImpersonatedUser?
    /// The organization's address, such as `https://…/contoso`.
    let organizationRoot: String
    let requestID: String
    /// The client that waits for the response. Without it, a long read continues even if the client disconnects.
    var peer: Peer?

    static let operations: Set<String> = [
        "Create", "Retrieve", "Update", "Delete", "Execute", "Associate", "Disassociate", "RetrieveMultiple",
    ]

    /// Whether an operation only reads or writes records. If so, the operation's session may reuse the state that an earlier
    /// session read.
    static func mayAssume(_ operation: XMLElement) -> Bool { name(of: operation).map(mayAssume) ?? false }

    /// Whether a request of Execute, given by its name, only reads or writes records.
    static func mayAssume(_ name: String) -> Bool {
        ["Create", "Retrieve", "Update", "Delete", "RetrieveMultiple", "Upsert"].contains(name)
    }

    /// Whether an operation only reads.
    static func isRead(_ operation: XMLElement) -> Bool { name(of: operation)?.hasPrefix("Retrieve") ?? false }

    static let metadataRequests: Set<String> = [
        "RetrieveEntity", "RetrieveAllEntities", "RetrieveAttribute", "RetrieveMetadataChanges",
    ]

    private static func name(of operation: XMLElement) -> String? {
        operation.local == "Execute" ? operation.first("request")?.first("RequestName")?.text : operation.local
    }

    /// The response to an operation, before it is written.
    struct Answer {
        /// Whether writing takes long, because the response has many or long values. Another thread then writes it.
        var isLong = false
        let write: (inout ContractWriter) throws -> Void
    }

    /// Performs an operation.
    func answer(_ operation: XMLElement) async throws -> Answer {
        switch operation.local {
        case "Create": return try await create(operation)
        case "Retrieve": return try await retrieve(operation)
        case "RetrieveMultiple": return try await retrieveMultiple(operation)
        case "Update":
            let entity = try ContractEntity(try Self.members(operation, "entity").required("entity"))
            _ = try await session.write(try Self.update(entity, .mustExist))
        case "Delete":
            let members = try Self.members(operation, "entityName", "id")
            let entity = try Self.entity(members.text("entityName"), .delete)
            _ = try await session.write(.delete(entity, .id(try Self.id(members, "id"))))
        case "Associate", "Disassociate":
            let members = try Self.members(operation, "entityName", "entityId", "relationship", "relatedEntities")
            let link = try LinkRequest(
                target: ContractReference(try Self.entity(members.text("entityName")), id: try Self.id(members, "entityId")),
                relationship: members.required("relationship"), related: try Self.references(members.required("relatedEntities")))
            try await self.link(link, isRemoved: operation.local == "Disassociate")
        case "Execute":
            let request = try OrganizationRequest(try Self.members(operation, "request").required("request"))
            let response = try await execute(request)
            return Answer(isLong: response.isLong) { writer in
                try writer.root("ExecuteResponse", default: Contract.services) {
                    try response.write("ExecuteResult", Contract.services, to: &$0)
                }
            }
        default:
            throw FieldsealError(.notImplemented, "The Organization service has no operation \(operation.local.quotedForFault).")
        }
        return Answer { writer in writer.write("<\(operation.local)Response xmlns=\"\(Contract.services)\"/>") }
    }

    private func create(_ operation: XMLElement) async throws -> Answer {
        let entity = try ContractEntity(try Self.members(operation, "entity").required("entity"))
        let outcome = try await session.write(try Self.create(entity))
        return Answer { writer in
            writer.root("CreateResponse", default: Contract.services) {
                $0.text("CreateResult", Contract.services, outcome.id.text)
            }
        }
    }

    private func retrieve(_ operation: XMLElement) async throws -> Answer {
        let members = try Self.members(operation, "entityName", "id", "columnSet")
        let entity = try Self.entity(members.text("entityName"), .retrieve)
        let found = try await record(
            entity, .id(try Self.id(members, "id")), try ColumnSet(members.required("columnSet")))
        return Answer(isLong: found.page.isLong) { writer in
            try writer.root("RetrieveResponse", default: Contract.services) { writer in
                try writer.element("RetrieveResult", Contract.services, declaring: ResultPage.namespaces) {
                    try found.writeFirst(to: &$0)
                }
            }
        }
    }

    private func retrieveMultiple(_ operation: XMLElement) async throws -> Answer {
        let page = try await list(try Self.members(operation, "query").required("query"))
        return Answer(isLong: page.page.isLong) { writer in
            try writer.root("RetrieveMultipleResponse", default: Contract.services) { writer in
                try writer.element("RetrieveMultipleResult", Contract.services, declaring: ResultPage.namespaces) {
                    try page.write(to: &$0)
                }
            }
        }
    }

    // MARK: Parameters of operations

    /// The parameters of an operation, in the namespace of the service.
    private static func members(_ operation: XMLElement, _ names: String...) throws(FieldsealError) -> ContractMembers {
        try ContractMembers(operation, of: operation.local, names)
    }

    /// - Throws: ``FieldsealError`` for an unknown entity, and for an entity that does not have the message.
    static func entity(_ name: String?, _ message: EntityDefinition.Message? = nil) throws(FieldsealError) -> EntityDefinition {
        guard let name, let entity = EntityCatalog.entity(name.lowercased()) else { throw ContractReference.unknown(name) }
        if let message { try require(message, of: entity) }
        return entity
    }

    static func require(_ message: EntityDefinition.Message, of entity: EntityDefinition) throws(FieldsealError) {
        guard entity.has(message) else {
            throw FieldsealError(.notImplemented, "Records of \(entity.logicalName) do not have the message \(message.rawValue).")
        }
    }

    private static func id(_ members: ContractMembers, _ name: String) throws(FieldsealError) -> UUID {
        guard let id = UUID(clientText: String(try members.required(name).text.trimmed)) else {
            throw members.mismatch(name, "a guid")
        }
        return id
    }

    private static func references(_ element: XMLElement) throws(FieldsealError) -> [ContractReference] {
        var references: [ContractReference] = []
        for child in element.children { references.append(try ContractReference(child)) }
        return references
    }
}
