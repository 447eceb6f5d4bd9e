import Foundation
import JSON
import Model
import Records

/// A request that only writes records, so that it can be part of a transaction.
struct PlannedWrites {
    let writes: [RecordWrite]
    /// Makes the response from the outcomes of the writes.
    let response: ([WriteOutcome]) -> OrganizationResponse
}

extension OrganizationService {
    /// - Returns: Nil for a request that does not only write records.
    func plannedWrites(_ request: OrganizationRequest) async throws -> PlannedWrites? {
        let name = request.name
        func plain(_ write: RecordWrite) -> PlannedWrites {
            PlannedWrites(writes: [write]) { _ in OrganizationResponse(name) }
        }
        switch name {
        case "Create":
            try request.take("Target")
            return PlannedWrites(writes: [try Self.create(try request.entity("Target"))]) { outcomes in
                var response = OrganizationResponse(name)
                response.add("id", outcomes[0].id)
                return response
            }
        case "Update":
            try request.take("Target", "ConcurrencyBehavior", "ReturnRowVersion")
            let target = try request.entity("Target")
            return plain(try Self.update(target, try condition(request, target.rowVersion)))
        case "Delete":
            try request.take("Target", "ConcurrencyBehavior")
            let target = try request.reference("Target")
            try Self.require(.delete, of: target.entity)
            return plain(.delete(target.entity, try target.key(), try condition(request, target.rowVersion)))
        case "Upsert":
            try request.take("Target")
            let target = try request.entity("Target")
            return PlannedWrites(writes: [try Self.upsert(target)]) { outcomes in
                var response = OrganizationResponse(name)
                response.add("RecordCreated", outcomes[0].isCreated)
                response.add("Target", target.entity, outcomes[0].id)
                return response
            }
        case "CreateMultiple", "UpdateMultiple", "UpsertMultiple": return try plannedMany(request)
        case "Assign":
            try request.take("Target", "Assignee")
            let target = try request.reference("Target")
            try Self.require(.assign, of: target.entity)
            let owner = try request.reference("Assignee")
            try owner.require(oneOf: target.entity["ownerid"]?.type.targets ?? [], in: "Assignee")
            let assignee = JSONValue.Member("ownerid@odata.bind", .string(try owner.address()))
            return plain(.upsert(target.entity, try target.key(), [assignee], .mustExist))
        case "SetState":
            try request.take("EntityMoniker", "State", "Status")
            return plain(try setState(request))
        default: return nil
        }
    }

    private func setState(_ request: OrganizationRequest) throws(FieldsealError) -> RecordWrite {
        let target = try request.reference("EntityMoniker")
        guard target.entity["statecode"] != nil else {
            throw FieldsealError(.notImplemented, "Records of \(target.entity.logicalName) have no state.")
        }
        guard let state = try request.option("State"), let status = try request.option("Status") else {
            throw request.mismatch("State and Status", "an OptionSetValue each")
        }
        var members = [JSONValue.Member("statecode", .integer(state))]
        // -1 means the state's default status.
        if status != -1 { members.append(.init("statuscode", .integer(status))) }
        return .upsert(target.entity, try target.key(), members, .mustExist)
    }

    private func plannedMany(_ request: OrganizationRequest) throws(FieldsealError) -> PlannedWrites {
        let name = request.name
        try request.take("Targets", "ConcurrencyBehavior")
        let targets = try request.entities("Targets")
        guard (1...APILimits.bulkCount).contains(targets.count) else {
            throw request.mismatch("Targets", "1 to \(APILimits.bulkCount) records")
        }
        guard targets.allSatisfy({ $0.entity === targets[0].entity }) else {
            throw request.mismatch("Targets", "records of one entity")
        }
        var writes: [RecordWrite] = []
        for target in targets {
            switch name {
            case "CreateMultiple": writes.append(try Self.create(target))
            case "UpdateMultiple": writes.append(try Self.update(target, try condition(request, target.rowVersion)))
            default: writes.append(try Self.upsert(target))
            }
        }
        if name != "CreateMultiple" {
            let message = UUID()
            var keys: [RecordKey] = []
            writes = writes.map { write in
                guard case .upsert(let entity, let key, let members, let condition, _) = write else { return write }
                keys.append(key)
                return .upsert(entity, key, members, condition, among: message)
            }
            try RecordKey.requireDistinct(keys)
        }
        return PlannedWrites(writes: writes) { outcomes in
            var response = OrganizationResponse(name)
            switch name {
            case "CreateMultiple": response.add("Ids", outcomes.map(\.id))
            case "UpsertMultiple":
                response.add("Results", type: XMLName(Contract.xrm, "ArrayOfUpsertResponse")) { writer in
                    for outcome in outcomes {
                        var one = OrganizationResponse("Upsert")
                        one.add("RecordCreated", outcome.isCreated)
                        one.add("Target", targets[0].entity, outcome.id)
                        try one.write("UpsertResponse", Contract.xrm, to: &writer)
                    }
                }
            default: break
            }
            return response
        }
    }

    /// The condition that `ConcurrencyBehavior` requests.
    private func condition(_ request: OrganizationRequest, _ rowVersion: String?) throws(FieldsealError) -> WriteCondition {
        switch try request.word("ConcurrencyBehavior") {
        case nil, "Default", "AlwaysOverwrite": return .mustExist
        case "IfRowVersionMatches":
            guard let rowVersion, !rowVersion.isEmpty else {
                throw FieldsealError(
                    .concurrencyVersionNotProvided, "The Target has no RowVersion. Give the one that the record was read with.")
            }
            guard let version = Int64(rowVersion) else { throw request.mismatch("Target", "RowVersion is a number") }
            return .version(version)
        default: throw request.mismatch("ConcurrencyBehavior", "Default, IfRowVersionMatches or AlwaysOverwrite")
        }
    }

    // MARK: Records

    static func create(_ target: ContractEntity) throws(FieldsealError) -> RecordWrite {
        try require(.create, of: target.entity)
        let members = try target.members()
        if !target.keys.isEmpty { return .upsert(target.entity, try target.key(), members, .mustNotExist) }
        return .create(target.entity, id: try target.recordID(), members)
    }

    static func update(_ target: ContractEntity, _ condition: WriteCondition) throws(FieldsealError) -> RecordWrite {
        try require(.update, of: target.entity)
        return .upsert(target.entity, try target.key(), try target.members(), condition)
    }

    private static func upsert(_ target: ContractEntity) throws(FieldsealError) -> RecordWrite {
        try require(.update, of: target.entity)
        // Without an id or a key, the request can only create a record.
        if try target.recordID() == nil, target.keys.isEmpty { return try create(target) }
        return .upsert(target.entity, try target.key(), try target.members())
    }
}
