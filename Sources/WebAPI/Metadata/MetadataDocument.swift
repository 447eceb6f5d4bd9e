import Fieldseal
import Foundation

/// The service's metadata in CSDL XML (OData CSDL 4.0).
enum MetadataDocument {
    /// It does not depend on the organization, and is made once.
    static let xml: String = {
        var xml = """
            <?xml version="1.0" encoding="UTF-8"?>
            <edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>\
            <Schema Namespace="Microsoft.Dynamics.CRM" Alias="mscrm" xmlns="http://docs.oasis-open.org/odata/ns/edm">
            <EntityType Name="crmbaseentity" Abstract="true"/>

            """
        for entity in EntityCatalog.all { xml += type(entity) }
        xml += operations
        xml += "<EntityContainer Name=\"System\">\n"
        for entity in EntityCatalog.all {
            xml += "<EntitySet Name=\"\(entity.entitySetName)\" EntityType=\"Microsoft.Dynamics.CRM.\(entity.logicalName)\">\n"
            for relationship in entity.manyToOne {
                xml +=
                    "<NavigationPropertyBinding Path=\"\(relationship.navigationProperty)\" Target=\"\(relationship.referenced.entitySetName)\"/>\n"
            }
            for relationship in entity.oneToMany {
                xml +=
                    "<NavigationPropertyBinding Path=\"\(relationship.collectionProperty)\" Target=\"\(relationship.referencing.entitySetName)\"/>\n"
            }
            xml += "</EntitySet>\n"
        }
        xml += imports + "</EntityContainer>\n"
        return xml + "</Schema></edmx:DataServices></edmx:Edmx>\n"
    }()

    private static func type(_ entity: EntityDefinition) -> String {
        var xml = "<EntityType Name=\"\(entity.logicalName)\" BaseType=\"mscrm.crmbaseentity\">\n"
        xml += "<Key><PropertyRef Name=\"\(entity.primaryID)\"/></Key>\n"
        for attribute in entity.attributes where attribute.validFor.contains(.read) || attribute.isEncrypted {
            var facets = ""
            if case .string(let length) = attribute.type { facets = " MaxLength=\"\(length)\"" }
            if case .memo(let length) = attribute.type { facets = " MaxLength=\"\(length)\"" }
            if attribute.logicalName == entity.primaryID { facets += " Nullable=\"false\"" }
            if attribute.isEncrypted { facets += " DefaultValue=\"null\"" }
            xml += "<Property Name=\"\(attribute.propertyName)\" Type=\"\(attribute.type.edm)\"\(facets)"
            // Lookups are written by their navigation properties.
            let isComputed =
                attribute.type.isReference || !attribute.validFor.contains(.create) && !attribute.validFor.contains(.update)
            xml += isComputed ? "><Annotation Term=\"Org.OData.Core.V1.Computed\" Bool=\"true\"/></Property>\n" : "/>\n"
        }
        for relationship in entity.manyToOne {
            xml +=
                "<NavigationProperty Name=\"\(relationship.navigationProperty)\" Type=\"mscrm.\(relationship.referenced.logicalName)\""
            xml += " Partner=\"\(relationship.collectionProperty)\">"
            if !relationship.attribute.type.isPolymorphicOrOwner {
                xml +=
                    "<ReferentialConstraint Property=\"\(relationship.attribute.propertyName)\" ReferencedProperty=\"\(relationship.referenced.primaryID)\"/>"
            }
            xml += "</NavigationProperty>\n"
        }
        for relationship in entity.oneToMany {
            xml +=
                "<NavigationProperty Name=\"\(relationship.collectionProperty)\" Type=\"Collection(mscrm.\(relationship.referencing.logicalName))\""
            xml += " Partner=\"\(relationship.navigationProperty)\"/>\n"
        }
        return xml + "</EntityType>\n"
    }

    /// Messages without an entity.
    private static let functions: [(name: String, results: [(name: String, type: String)])] = [
        ("WhoAmI", [("BusinessUnitId", "Edm.Guid"), ("UserId", "Edm.Guid"), ("OrganizationId", "Edm.Guid")]),
        ("IsDataEncryptionActive", [("IsActive", "Edm.Boolean")]),
        ("RetrieveDataEncryptionKey", [("EncryptionKey", "Edm.String")]),
        (
            "RetrieveDataEncryptionKeyChange",
            [
                ("IsRunning", "Edm.Boolean"), ("Phase", "Edm.String"), ("Cells", "Edm.Int64"), ("EstimatedTotal", "Edm.Int64"),
                ("Percent", "Edm.Int32"), ("CellsPerSecond", "Edm.Decimal"), ("SecondsLeft", "Edm.Decimal"),
                ("StartedBy", "Edm.String"),
            ]
        ),
    ]

    private static var operations: String {
        var xml = ""
        for (name, results) in functions {
            xml += "<ComplexType Name=\"\(name)Response\">"
            for result in results { xml += "<Property Name=\"\(result.name)\" Type=\"\(result.type)\"/>" }
            xml +=
                "</ComplexType>\n<Function Name=\"\(name)\"><ReturnType Type=\"mscrm.\(name)Response\" Nullable=\"false\"/></Function>\n"
        }
        xml += """
            <ComplexType Name="CreateMultipleResponse"><Property Name="Ids" Type="Collection(Edm.Guid)"/></ComplexType>
            <Action Name="SetDataEncryptionKey"><Parameter Name="EncryptionKey" Type="Edm.String" Nullable="false" Unicode="true"/>\
            <Parameter Name="ChangeEncryptionKey" Type="Edm.Boolean" Nullable="false"/></Action>

            """
        for entity in EntityCatalog.all where entity.messages.contains(.create) {
            xml += """
                <Action Name="CreateMultiple" IsBound="true"><Parameter Name="entityset" Type="Collection(mscrm.\(entity.logicalName))"/>\
                <Parameter Name="Targets" Type="Collection(mscrm.\(entity.logicalName))" Nullable="false"/>\
                <ReturnType Type="mscrm.CreateMultipleResponse" Nullable="false"/></Action>

                """
        }
        return xml
    }

    private static var imports: String {
        functions.map { "<FunctionImport Name=\"\($0.name)\" Function=\"mscrm.\($0.name)\"/>\n" }.joined()
            + "<ActionImport Name=\"SetDataEncryptionKey\" Action=\"mscrm.SetDataEncryptionKey\"/>\n"
    }
}

extension AttributeType {
    /// The type in CSDL.
    var edm: String {
        switch self {
        case .string, .memo, .entityName: "Edm.String"
        case .picklist, .state, .status, .integer: "Edm.Int32"
        case .boolean: "Edm.Boolean"
        case .bigInt: "Edm.Int64"
        case .decimal: "Edm.Decimal"
        case .dateTime: "Edm.DateTimeOffset"
        case .lookup, .owner, .uniqueIdentifier: "Edm.Guid"
        case .image: "Edm.Binary"
        }
    }

    /// Whether several entities may be at its other end.
    var isPolymorphicOrOwner: Bool { targets.count > 1 }
}
