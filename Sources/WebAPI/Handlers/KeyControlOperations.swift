import Foundation
import HTTPTypes
import JSON
import Model
import Tenancy

// The rules for the use of the key, and the approvals of a second System Administrator. These operations are additions to
// Dataverse.
extension DataAPI {
    /// Operations for which the session always reads the caller's roles anew, because these operations do not check a reused state.
    static let keyControlNames: Set = [
        "fieldseal.RetrieveKeyControl", "fieldseal.RetrieveApprovals", "fieldseal.SetKeyControl", "fieldseal.ApproveRequest",
        "fieldseal.RefuseRequest",
    ]

    /// - Returns: Nil for another operation.
    func keyControlOperation(_ name: String, _ arguments: String, _ request: APIRequest) async throws -> APIResponse? {
        switch (name, request.method) {
        case ("fieldseal.RetrieveKeyControl", .get):
            try Self.requireNone(arguments, name)
            let control = try await KeyControlAdministration(session, to: .see).current()
            return APIResponse.json([
                "ApprovalSeconds": Self.number(control.approvalSeconds), "SignInSeconds": Self.number(control.signInSeconds),
            ])
        case ("fieldseal.RetrieveApprovals", .get):
            try Self.requireNone(arguments, name)
            let approvals = try ApprovalAdministration(session, to: .see)
            let requests = try await approvals.list().map { Self.json($0, mayApprove: approvals.mayApprove($0)) }
            return APIResponse.json(["value": .array(requests)])
        case ("fieldseal.SetKeyControl", .post):
            let control = try Self.keyControl(request.members())
            try await KeyControlAdministration(session, to: .set).set(control)
            return APIResponse.noContent()
        case ("fieldseal.ApproveRequest", .post):
            let id = try Self.approvalID(request.members(), name)
            try await ApprovalAdministration(session, to: .approve).approve(id)
            return APIResponse.noContent()
        case ("fieldseal.RefuseRequest", .post):
            let id = try Self.approvalID(request.members(), name)
            try await ApprovalAdministration(session, to: .refuse).refuse(id)
            return APIResponse.noContent()
        case ("fieldseal.RetrieveKeyControl", _), ("fieldseal.RetrieveApprovals", _): throw MethodNotAllowed(.get)
        case ("fieldseal.SetKeyControl", _), ("fieldseal.ApproveRequest", _), ("fieldseal.RefuseRequest", _):
            throw MethodNotAllowed(.post)
        default: return nil
        }
    }

    private static func requireNone(_ arguments: String, _ name: String) throws {
        guard arguments.isEmpty else { throw FieldsealError(.badRequest, "\(name) takes no parameters in parentheses.") }
    }

    private static func number(_ value: Int?) -> JSONValue { value.map { .integer(Int64($0)) } ?? .null }

    private static func json(_ approval: Approval, mayApprove: Bool) -> JSONValue {
        [
            "ApprovalId": .string(approval.id.text), "Operation": .string(approval.operation), "Subject": .string(approval.subject),
            "RequestedBy": .string(approval.requester), "Address": .text(approval.address),
            "RequestedOn": .string(ISO8601.text(approval.createdOn)), "OpenUntil": .string(ISO8601.text(approval.expiresOn)),
            "ApprovedBy": .text(approval.approver), "MayApprove": .bool(mayApprove),
        ]
    }

    private static func keyControl(_ members: [JSONValue.Member]) throws -> KeyControl {
        var control = KeyControl()
        var given: Set<String> = []
        for member in members {
            let seconds: Int?
            switch member.value {
            case .integer(let number): seconds = Int(number)
            case .null: seconds = nil
            default: throw FieldsealError(.payloadDoesNotFit, "\(member.name.prefix(100)) takes a number of seconds or null.")
            }
            switch member.name {
            case "ApprovalSeconds": control.approvalSeconds = seconds
            case "SignInSeconds": control.signInSeconds = seconds
            default:
                throw FieldsealError(
                    .payloadDoesNotFit, "fieldseal.SetKeyControl has no parameter '\(member.name.prefix(100))'.")
            }
            given.insert(member.name)
        }
        // All parameters are required, because a missing parameter would turn its rule off silently.
        guard given.count == 2 else {
            throw FieldsealError(.payloadDoesNotFit, "fieldseal.SetKeyControl takes ApprovalSeconds and SignInSeconds, or null.")
        }
        return control
    }

    private static func approvalID(_ members: [JSONValue.Member], _ name: String) throws -> UUID {
        guard members.count == 1, members[0].name == "ApprovalId", let id = members[0].value.string.flatMap(UUID.init(text:)) else {
            throw FieldsealError(.payloadDoesNotFit, "\(name) takes ApprovalId, the id of a request, and nothing else.")
        }
        return id
    }
}
