import Foundation
import JSON
import Model

/// The service's description in OpenAPI 3.0.3: the requests for records of every entity, and a few functions.
struct OpenAPIDocument {
    let serviceRoot: String

    var json: JSONValue {
        var paths: [JSONValue.Member] = []
        for entity in EntityCatalog.all { paths += self.paths(entity) }
        paths += operations
        return [
            "openapi": "3.0.3",
            "info": [
                "title": "Fieldseal Web API", "version": "9.2",
                "description":
                    "Records with encrypted attributes, and the messages about their key. See $metadata for the whole model.",
            ],
            "servers": [["url": .string(serviceRoot)]],
            "security": [["bearer": []]],
            "paths": .object(paths),
            "components": [
                "securitySchemes": ["bearer": ["type": "http", "scheme": "bearer", "bearerFormat": "JWT"]],
                "schemas": .object(EntityCatalog.all.flatMap(schemas) + [.init("error", error)]),
            ],
        ]
    }

    private func paths(_ entity: EntityDefinition) -> [JSONValue.Member] {
        let reference: JSONValue = ["$ref": .string("#/components/schemas/\(entity.logicalName)")]
        var collection: [JSONValue.Member] = [
            .init(
                "get",
                operation(
                    "list_\(entity.logicalName)", "Lists records", Self.listOptions,
                    [
                        "200": Self.content([
                            "type": "object", "required": ["value"],
                            "properties": ["value": ["type": "array", "items": reference]],
                        ])
                    ]))
        ]
        if entity.messages.contains(.create) {
            collection.append(
                .init(
                    "post",
                    operation(
                        "create_\(entity.logicalName)", "Creates a record", [], ["204": Self.created],
                        body: "\(entity.logicalName)_create")))
        }
        let key: JSONValue = ["name": "id", "in": "path", "required": true, "schema": ["type": "string", "format": "uuid"]]
        var record: [JSONValue.Member] = [
            .init("parameters", [key]),
            .init("get", operation("get_\(entity.logicalName)", "Reads a record", [Self.select], ["200": Self.content(reference)])),
        ]
        if entity.messages.contains(.update) {
            let match: JSONValue = [
                "name": "If-Match", "in": "header", "description": "* to update only, or the ETag that was read",
                "schema": ["type": "string"],
            ]
            record.append(
                .init(
                    "patch",
                    operation(
                        "update_\(entity.logicalName)", "Updates a record, or creates it", [match], ["204": Self.created],
                        body: "\(entity.logicalName)_update")))
        }
        if entity.messages.contains(.delete) {
            record.append(
                .init(
                    "delete", operation("delete_\(entity.logicalName)", "Deletes a record", [], ["204": ["description": "Deleted"]])
                ))
        }
        return [
            .init("/\(entity.entitySetName)", .object(collection)), .init("/\(entity.entitySetName)({id})", .object(record)),
        ]
    }

    private var operations: [JSONValue.Member] {
        func function(_ name: String, _ properties: JSONValue) -> JSONValue.Member {
            .init(
                "/\(name)()",
                ["get": operation(name, name, [], ["200": Self.content(["type": "object", "properties": properties])])])
        }
        return [
            function("WhoAmI", ["UserId": Self.id, "BusinessUnitId": Self.id, "OrganizationId": Self.id]),
            function("IsDataEncryptionActive", ["IsActive": ["type": "boolean"]]),
            function("RetrieveDataEncryptionKeyChange", ["IsRunning": ["type": "boolean"]]),
        ]
    }

    private func operation(
        _ id: String,
        _ summary: String,
        _ parameters: [JSONValue],
        _ answers: JSONValue,
        body: String? = nil
    ) -> JSONValue {
        let failure: JSONValue = [
            "description": "Refused", "content": ["application/json": ["schema": ["$ref": "#/components/schemas/error"]]],
        ]
        guard case .object(var responses) = answers else { return .null }
        responses += ["400", "401", "403", "404", "405", "412", "413", "428", "429", "500", "501", "503"].map { .init($0, failure) }
        if id.hasPrefix("get_") { responses.append(.init("304", ["description": "Not modified"])) }
        if id.hasPrefix("update_") || id.hasPrefix("create_") { responses.append(.init("409", failure)) }
        var members: [JSONValue.Member] = [
            .init("operationId", .string(id)), .init("summary", .string(summary)), .init("parameters", .array(parameters)),
            .init("responses", .object(responses)),
        ]
        if let body {
            members.append(
                .init(
                    "requestBody",
                    [
                        "required": true,
                        "content": ["application/json": ["schema": ["$ref": .string("#/components/schemas/\(body)")]]],
                    ]))
        }
        return .object(members)
    }

    private static let id: JSONValue = ["type": "string", "format": "uuid"]
    private static let select: JSONValue = [
        "name": "$select", "in": "query", "schema": ["type": "string"], "description": "Attributes to give, separated by commas",
    ]
    private static let listOptions: [JSONValue] = [
        select,
        ["name": "$filter", "in": "query", "schema": ["type": "string"]],
        ["name": "$orderby", "in": "query", "schema": ["type": "string"]],
        ["name": "$top", "in": "query", "schema": ["type": "integer", "minimum": 0, "maximum": 2_147_483_647]],
        ["name": "$count", "in": "query", "schema": ["type": "boolean"]],
        ["name": "$expand", "in": "query", "schema": ["type": "string"]],
        ["name": "Prefer", "in": "header", "schema": ["type": "string"], "description": "odata.maxpagesize=N"],
    ]
    private static let created: JSONValue = [
        "description": "Done",
        "headers": ["OData-EntityId": ["schema": ["type": "string"], "description": "The record's address"]],
    ]

    private static func content(_ schema: JSONValue) -> JSONValue {
        ["description": "The answer", "content": ["application/json": ["schema": schema]]]
    }

    private var error: JSONValue {
        [
            "type": "object", "required": ["error"],
            "properties": [
                "error": [
                    "type": "object", "required": ["code", "message"],
                    "properties": ["code": ["type": "string"], "message": ["type": "string"]],
                ]
            ],
        ]
    }

    /// The schemas of the record for reads, creates and updates.
    private func schemas(_ entity: EntityDefinition) -> [JSONValue.Member] {
        func properties(_ use: AttributeDefinition.Operations) -> JSONValue {
            .object(
                entity.attributes.filter { use == .read ? $0.validFor.contains(use) : $0.isWritable(by: use) }
                    .flatMap { attribute -> [JSONValue.Member] in
                        guard use != .read, attribute.type.isReference else {
                            return [.init(attribute.propertyName, schema(attribute, isRead: use == .read))]
                        }
                        return entity.navigationProperties(of: attribute).map { property in
                            .init("\(property)@odata.bind", ["type": "string", "description": "The address of a record"])
                        }
                    })
        }
        return [
            .init(entity.logicalName, ["type": "object", "properties": properties(.read)]),
            .init("\(entity.logicalName)_create", ["type": "object", "properties": properties(.create)]),
            .init("\(entity.logicalName)_update", ["type": "object", "properties": properties(.update)]),
        ]
    }

    private func schema(_ attribute: AttributeDefinition, isRead: Bool) -> JSONValue {
        var members: [JSONValue.Member]
        switch attribute.type {
        case .string(let length), .memo(let length):
            members = [.init("type", "string"), .init("maxLength", .integer(Int64(length)))]
        case .entityName: members = [.init("type", "string")]
        case .picklist, .state, .status:
            let options = attribute.type.options?.options ?? []
            members = [
                .init("type", "integer"),
                .init(
                    "enum", .array(options.map { .integer($0.value) } + (isRead || attribute.required != .system ? [.null] : []))),
                .init("description", .string(options.map { "\($0.value): \($0.label)" }.joined(separator: "; "))),
            ]
        case .boolean: members = [.init("type", "boolean")]
        case .integer(let range):
            members = [
                .init("type", "integer"), .init("minimum", .integer(range.lowerBound)),
                .init("maximum", .integer(range.upperBound)),
            ]
        case .bigInt: members = [.init("type", "integer"), .init("format", "int64")]
        case .decimal: members = [.init("type", "number")]
        case .dateTime: members = [.init("type", "string"), .init("format", "date-time")]
        case .lookup, .owner, .uniqueIdentifier: members = [.init("type", "string"), .init("format", "uuid")]
        case .image: members = [.init("type", "string"), .init("format", "byte")]
        }
        if isRead || attribute.required != .system { members.append(.init("nullable", true)) }
        if attribute.isEncrypted {
            members.append(.init("description", "Encrypted: set like any other attribute, and read as null."))
        }
        return .object(members)
    }
}
