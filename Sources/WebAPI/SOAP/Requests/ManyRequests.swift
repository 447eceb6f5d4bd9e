import Authentication
import Foundation
import Model
import Records
import Tenancy

// ExecuteMultiple and ExecuteTransaction: several requests in one SOAP request.
extension OrganizationService {
    /// How many records the responses of one ExecuteMultiple have at most.
    private static let recordLimit = 50_000

    /// Runs requests one after the other. A request that is refused does not undo the requests before it.
    func executeMultiple(_ request: OrganizationRequest) async throws -> OrganizationResponse {
        try request.take("Requests", "Settings")
        guard let settings = request.element("Settings") else { throw request.mismatch("Settings", "ExecuteMultipleSettings") }
        let members = try ContractMembers(settings, of: "ExecuteMultipleSettings", ["ContinueOnError", "ReturnResponses"])
        let continues = try members.bool("ContinueOnError") ?? false
        let returns = try members.bool("ReturnResponses") ?? false
        var items: [(index: Int, result: Result<OrganizationResponse, SOAPFault>)] = []
        var isFaulted = false
        var records = 0
        for (index, element) in try requests(of: request).enumerated() {
            try Task.checkCancellation()
            do {
                let response = try await executeOne(element)
                guard records + response.records <= Self.recordLimit else {
                    throw FieldsealError(
                        .queryDoesNotFit,
                        "The responses of ExecuteMultiple hold more than \(Self.recordLimit) records. Send fewer queries at once.")
                }
                records += returns ? response.records : 0
                if returns { items.append((index, .success(response))) }
            } catch let error as CancellationError {
                throw error
            } catch {
                isFaulted = true
                items.append((index, .failure(SOAPFault.fault(for: error).fault)))
                if !continues { break }
            }
        }
        var response = OrganizationResponse(request.name)
        response.add("IsFaulted", isFaulted)
        response.add("Responses", type: XMLName(Contract.many, "OrganizationResponseCollection")) { [requestID] writer in
            for (index, result) in items {
                try writer.element("ExecuteMultipleResponseItem", Contract.many) { writer in
                    try Self.write(index, result, requestID, to: &writer)
                }
            }
        }
        return response
    }

    /// Runs one request of ExecuteMultiple in a separate session.
    private func executeOne(_ element: XMLElement) async throws -> OrganizationResponse {
        let name = try OrganizationRequest(element).name
        guard name != "ExecuteMultiple" else {
            throw FieldsealError(.badRequest, "ExecuteMultiple can't be part of ExecuteMultiple.")
        }
        return try await sessions.run(mayAssume: user == nil && Self.mayAssume(name), onBegin: { _ in }) { own in
            var service = self
            service.session = try await own.acting(for: user)
            return try await service.execute(try OrganizationRequest(element))
        }
    }

    private static func write(
        _ index: Int, _ result: Result<OrganizationResponse, SOAPFault>, _ requestID: String, to writer: inout ContractWriter
    ) throws {
        switch result {
        case .success(let response):
            writer.null("Fault", Contract.many)
            writer.text("RequestIndex", Contract.many, String(index))
            try response.write("Response", Contract.many, to: &writer)
        case .failure(let fault):
            writer.element("Fault", Contract.many) { fault.members(&$0, requestID) }
            writer.text("RequestIndex", Contract.many, String(index))
            writer.null("Response", Contract.many)
        }
    }

    /// Runs requests in one transaction, so that either all of them succeed, or none does. Each request must only write records.
    func executeTransaction(_ request: OrganizationRequest) async throws -> OrganizationResponse {
        try request.take("Requests", "ReturnResponses")
        let returns = try request.bool("ReturnResponses") ?? false
        var plans: [PlannedWrites] = []
        for (index, element) in try requests(of: request).enumerated() {
            do {
                let inner = try OrganizationRequest(element)
                guard let plan = try await plannedWrites(inner) else {
                    throw FieldsealError(
                        .notImplemented,
                        "\(inner.name.quotedForFault) can't be part of ExecuteTransaction, which takes writes of records.")
                }
                plans.append(plan)
            } catch {
                var fault = SOAPFault.fault(for: error).fault
                fault.faultedIndex = index
                throw fault
            }
        }
        let outcomes = try await write(plans)
        var response = OrganizationResponse(request.name)
        guard returns else { return response }
        var rest = outcomes[...]
        var answers: [OrganizationResponse] = []
        for plan in plans {
            answers.append(plan.response(Array(rest.prefix(plan.writes.count))))
            rest = rest.dropFirst(plan.writes.count)
        }
        response.add("Responses", type: XMLName(Contract.keys, "OrganizationResponseCollection")) { writer in
            for answer in answers { try answer.write("OrganizationResponse", Contract.keys, to: &writer) }
        }
        return response
    }

    /// Writes the records of all plans. A refusal has the index of the refused request.
    private func write(_ plans: [PlannedWrites]) async throws -> [WriteOutcome] {
        let progress = WriteProgress()
        do {
            return try await session.write(plans.flatMap(\.writes), progress: progress)
        } catch let error as StaleSession {
            throw error
        } catch {
            var index = progress.index
            var fault = SOAPFault.fault(for: error).fault
            fault.faultedIndex = plans.firstIndex { plan in
                defer { index -= plan.writes.count }
                return index < plan.writes.count
            }
            throw fault
        }
    }

    private func requests(of request: OrganizationRequest) throws(FieldsealError) -> [XMLElement] {
        guard let element = request.element("Requests"), element.type?.local == "OrganizationRequestCollection" else {
            throw request.mismatch("Requests", "an OrganizationRequestCollection")
        }
        let requests = element.children.map(\.self)
        guard requests.count <= APILimits.bulkCount else {
            throw request.mismatch("Requests", "at most \(APILimits.bulkCount) requests")
        }
        return requests
    }
}
