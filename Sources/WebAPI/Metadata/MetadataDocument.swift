import Foundation
import Model

/// The service's metadata in CSDL XML (OData CSDL 4.0).
enum MetadataDocument {
    /// The document is the same for all organizations, and is made once.
    static let xml: String = {
        var xml = """
            <?xml version="1.0" encoding="UTF-8"?>
            <edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
            <edmx:Reference Uri="https://docs.oasis-open.org/odata/odata/v4.0/os/vocabularies/Org.OData.Core.V1.xml">\
            <edmx:Include Namespace="Org.OData.Core.V1" Alias="Core"/></edmx:Reference>
            <edmx:DataServices>
            <Schema Namespace="Microsoft.Dynamics.CRM" Alias="mscrm" xmlns="http://docs.oasis-open.org/odata/ns/edm">
            <EntityType Name="crmbaseentity" Abstract="true"/>

            """
        xml += principal
        for entity in EntityCatalog.all { xml += type(entity) }
        xml += MetadataOperations.types(in: .dataverse) + MetadataOperations.declarations(in: .dataverse)
        xml += "<EntityContainer Name=\"System\">\n"
        for entity in EntityCatalog.all { xml += set(entity) }
        xml += MetadataOperations.imports + "</EntityContainer>\n</Schema>\n"
        xml += "<Schema Namespace=\"fieldseal\" xmlns=\"http://docs.oasis-open.org/odata/ns/edm\">\n"
        xml += MetadataOperations.types(in: .fieldseal) + MetadataOperations.declarations(in: .fieldseal)
        return xml + "</Schema>\n</edmx:DataServices></edmx:Edmx>\n"
    }()

    /// The base type of users and teams, which can own records. The type declares the key of users and teams, and the collections
    /// of the records that they own.
    private static var principal: String {
        var xml = "<EntityType Name=\"principal\" BaseType=\"mscrm.crmbaseentity\" Abstract=\"true\">\n" + key("ownerid")
        if let id = EntityDefinition.systemUser["ownerid"] { xml += property(id, of: .systemUser) }
        for relationship in EntityDefinition.systemUser.oneToMany where relationship.isOfOwner { xml += collection(relationship) }
        return xml + "</EntityType>\n"
    }

    private static func key(_ name: String) -> String { "<Key><PropertyRef Name=\"\(name)\"/></Key>\n" }

    private static func type(_ entity: EntityDefinition) -> String {
        let base = entity.isPrincipal ? "principal" : "crmbaseentity"
        var xml = "<EntityType Name=\"\(entity.logicalName)\" BaseType=\"mscrm.\(base)\">\n"
        if !entity.isPrincipal { xml += key(entity.primaryID) }
        for attribute in entity.attributes where attribute.validFor.contains(.read) || attribute.isEncrypted {
            if !entity.isPrincipal || attribute.logicalName != "ownerid" { xml += property(attribute, of: entity) }
        }
        for (name, relationships) in byNavigationProperty(entity) { xml += navigation(name, relationships) }
        for relationship in entity.oneToMany where !relationship.isOfOwner { xml += collection(relationship) }
        for association in entity.associations {
            let name = association.navigationProperty
            xml +=
                "<NavigationProperty Name=\"\(name)\" Type=\"Collection(mscrm.\(association.other.logicalName))\" Partner=\"\(name)\"/>\n"
        }
        return xml + "</EntityType>\n"
    }

    private static func collection(_ relationship: EntityRelationship) -> String {
        "<NavigationProperty Name=\"\(relationship.collectionProperty)\" "
            + "Type=\"Collection(mscrm.\(relationship.referencing.logicalName))\" Partner=\"\(relationship.navigationProperty)\"/>\n"
    }

    private static func property(_ attribute: AttributeDefinition, of entity: EntityDefinition) -> String {
        var facets = ""
        switch attribute.type {
        case .string(let length), .memo(let length): facets = " MaxLength=\"\(length)\" Unicode=\"true\""
        // Without this facet, decimals would have no fractional digits.
        case .decimal: facets = " Scale=\"variable\""
        default: break
        }
        if attribute.column == entity.idColumn { facets += " Nullable=\"false\"" }
        // Clients set a lookup through its navigation property, so the lookup's own property is declared as computed.
        let isComputed =
            attribute.type.isReference || !attribute.validFor.contains(.create) && !attribute.validFor.contains(.update)
        var annotations = isComputed ? "<Annotation Term=\"Org.OData.Core.V1.Computed\" Bool=\"true\"/>" : ""
        if attribute.isEncrypted {
            annotations +=
                "<Annotation Term=\"Org.OData.Core.V1.Description\" String=\"Encrypted: set like any other attribute, and read as null.\"/>"
        }
        let start = "<Property Name=\"\(attribute.propertyName)\" Type=\"\(attribute.type.edm)\"\(facets)"
        return annotations.isEmpty ? "\(start)/>\n" : "\(start)>\(annotations)</Property>\n"
    }

    /// The relationships of an entity's lookups, by navigation property. An owner is one property, whose record is a user or a
    /// team.
    private static func byNavigationProperty(_ entity: EntityDefinition) -> [(name: String, relationships: [EntityRelationship])] {
        var properties: [(name: String, relationships: [EntityRelationship])] = []
        for relationship in entity.manyToOne {
            if let place = properties.firstIndex(where: { $0.name == relationship.navigationProperty }) {
                properties[place].relationships.append(relationship)
            } else {
                properties.append((relationship.navigationProperty, [relationship]))
            }
        }
        return properties
    }

    private static func navigation(_ name: String, _ relationships: [EntityRelationship]) -> String {
        guard let first = relationships.first, relationships.count == 1 else {
            let partner = relationships.first.map { " Partner=\"\($0.collectionProperty)\"" } ?? ""
            return "<NavigationProperty Name=\"\(name)\" Type=\"mscrm.principal\"\(partner)/>\n"
        }
        var xml =
            "<NavigationProperty Name=\"\(name)\" Type=\"mscrm.\(first.referenced.logicalName)\" Partner=\"\(first.collectionProperty)\""
        if first.attribute.type.isPolymorphicOrOwner {
            xml += "/>\n"
        } else {
            let key = first.referenced.isPrincipal ? "ownerid" : first.referenced.primaryID
            xml +=
                "><ReferentialConstraint Property=\"\(first.attribute.propertyName)\" ReferencedProperty=\"\(key)\"/>"
                + "</NavigationProperty>\n"
        }
        return xml
    }

    private static func set(_ entity: EntityDefinition) -> String {
        var xml = "<EntitySet Name=\"\(entity.entitySetName)\" EntityType=\"mscrm.\(entity.logicalName)\">\n"
        for (name, relationships) in byNavigationProperty(entity) {
            for relationship in relationships {
                let cast = relationships.count > 1 ? "/Microsoft.Dynamics.CRM.\(relationship.referenced.logicalName)" : ""
                xml += binding("\(name)\(cast)", relationship.referenced)
            }
        }
        for relationship in entity.oneToMany { xml += binding(relationship.collectionProperty, relationship.referencing) }
        for association in entity.associations { xml += binding(association.navigationProperty, association.other) }
        return xml + "</EntitySet>\n"
    }

    private static func binding(_ path: String, _ target: EntityDefinition) -> String {
        "<NavigationPropertyBinding Path=\"\(path)\" Target=\"\(target.entitySetName)\"/>\n"
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

    /// Whether a lookup may refer to several entities.
    var isPolymorphicOrOwner: Bool { targets.count > 1 }
}
