import Foundation
import PostgresClient
import TestOrganizations
import Testing

@testable import CellCrypto
@testable import Model
@testable import Tenancy

@Suite("Metadata")
struct MetadataTests {
    @Test("There are exactly five encrypted attributes")
    func encrypted() {
        let names = EntityCatalog.all.flatMap { entity in entity.encryptedAttributes.map { entity.cellName($0.logicalName) } }
        #expect(
            names == [
                "emailserverprofile.incomingpassword", "emailserverprofile.outgoingpassword", "mailbox.password",
                "queue.emailpassword",
                "usersettings.emailpassword",
            ])
        #expect(EntityCatalog.withCells.map(\.logicalName) == ["emailserverprofile", "mailbox", "queue", "usersettings"])
    }

    @Test("Every attribute has a column of its type, and an encrypted attribute has only a column for its cells")
    func columns() async throws {
        // Columns that only routers and servers use, and that are not attributes.
        let own: [String: Set<String>] = [
            "mailbox": ["router_state"], "audit": ["block"],
            "email": [
                "is_handed_over", "failure", "submitter", "submitter_is_administrator", "submission_tag", "message_references",
            ],
        ]
        try await TestOrganization.with { organization in
            for entity in EntityCatalog.all {
                let columns = try await organization.columns(of: entity.logicalName)
                for attribute in entity.attributes where !attribute.isEncrypted {
                    #expect(
                        columns[attribute.column.replacing("\"", with: "")] == attribute.type.columnType,
                        "\(entity.logicalName).\(attribute.logicalName)")
                }
                let known = Set(entity.attributes.filter { !$0.isEncrypted }.map { $0.column.replacing("\"", with: "") }).union(
                    entity.isSetColumns.values
                )
                .union(own[entity.logicalName] ?? [])
                #expect(Set(columns.keys) == known, "\(entity.logicalName)")
                guard !entity.encryptedAttributes.isEmpty else { continue }
                let cells = try await organization.columns(of: entity.cellTable)
                let wanted = Dictionary(uniqueKeysWithValues: entity.encryptedAttributes.map { ($0.logicalName, "bytea") })
                #expect(cells == wanted.merging(["key_version": "integer", entity.primaryID: "uuid"]) { $1 })
                #expect(Set(entity.isSetColumns.keys) == Set(wanted.keys))
            }
        }
    }

    @Test("The records of sdkmessagefilter list the messages that each entity supports")
    func messages() async throws {
        let names: [EntityDefinition.Message: [String]] = [
            .create: ["Create", "CreateMultiple"], .retrieve: ["Retrieve"], .retrieveMultiple: ["RetrieveMultiple"],
            .update: ["Update", "UpdateMultiple"], .delete: ["Delete"], .assign: ["Assign"],
            .share: ["GrantAccess", "ModifyAccess", "RevokeAccess", "RetrieveSharedPrincipalsAndAccess"],
        ]
        let plain = Set(names.values.joined()).union(["Upsert", "UpsertMultiple"])
        try await TestOrganization.with { organization in
            let view = "\(organization.organization.schema).sdkmessagefilter"
            for entity in EntityCatalog.all {
                let rows = try await organization.sql(
                    "SELECT sdkmessageidname FROM \(view) WHERE primaryobjecttypecode = '\(entity.logicalName)'", as: String.self)
                var wanted = EntityDefinition.Message.allCases.filter { entity.has($0) }.flatMap { names[$0] ?? [] }
                if entity.has(.create), entity.has(.update) { wanted += ["Upsert", "UpsertMultiple"] }
                #expect(Set(rows).intersection(plain) == Set(wanted), "\(entity.logicalName)")
                #expect(Set(rows).count == rows.count, "\(entity.logicalName)")
            }
        }
    }

    @Test("The privilege table gives the documented depths, and no role the rights that no role may have")
    func privileges() {
        #expect(PrivilegeTable.depth(of: .delete, on: .mailbox, for: .systemAdministrator) == .organization)
        #expect(PrivilegeTable.depth(of: .update, on: .mailbox, for: .basicUser) == .own)
        #expect(PrivilegeTable.depth(of: .create, on: .mailbox, for: .basicUser) == .none)
        #expect(PrivilegeTable.depth(of: .retrieve, on: .emailServerProfile, for: .basicUser) == .none)
        #expect(!PrivilegeTable.maySetPasswords(.emailRouter))
        for role in Role.allCases {
            // No role may create or delete user settings, because they are created and deleted with their user.
            #expect(PrivilegeTable.depth(of: .create, on: .userSettings, for: role) == .none)
            #expect(PrivilegeTable.depth(of: .delete, on: .userSettings, for: role) == .none)
            #expect(PrivilegeTable.depth(of: .update, on: .role, for: role) == .none)
        }
    }

    @Test("Each error code has the form of Dataverse's codes and a valid HTTP status", arguments: ErrorCode.allCases)
    func codes(code: ErrorCode) {
        #expect(code.rawValue.wholeMatch(of: /0x800[0-9A-F]{5}/) != nil)
        #expect((400...501).contains(code.httpStatus))
    }
}

extension AttributeType {
    fileprivate var columnType: String {
        switch self {
        case .string, .memo, .entityName: "text"
        case .picklist, .state, .status, .integer: "integer"
        case .boolean: "boolean"
        case .bigInt: "bigint"
        case .decimal: "numeric"
        case .dateTime: "timestamp with time zone"
        case .lookup, .owner, .uniqueIdentifier: "uuid"
        case .image: "bytea"
        }
    }
}
