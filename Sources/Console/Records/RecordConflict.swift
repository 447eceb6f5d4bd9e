import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// The form that a person sees if another person saved the record meanwhile.
extension Console {
    /// Fields that only the other person changed get that person's values. The person decides about fields that both people
    /// changed.
    func conflict(
        _ visit: Visit, _ entity: EntityDefinition, _ typing: TypedRecord, _ kept: KeptSecrets
    ) async throws -> PageResponse {
        let (record, secrets) = try await read(visit, entity)
        var form = try await recordForm(visit, entity, record, secrets: secrets)
        let theirs = try form.loaded()
        let comparison = ThreeWayComparison(loaded: typing.loaded, theirs: theirs, yours: typing.compared)
        form.typed = typing.typed.merging(comparison.merged) { _, new in new }
        form.kept = try typing.kept(kept, [:])
        form.contested = Set(comparison.contested)
        func row(_ name: String) -> [String: Any]? {
            guard let attribute = entity[name] else { return nil }
            let (old, their, your) = (typing.loaded[name] ?? "", theirs[name] ?? "", typing.compared[name] ?? "")
            return attribute.isEncrypted
                ? Self.secretRow(attribute, entity, old, their, your, visit) : Self.row(attribute, entity, old, their, your, visit)
        }
        // The page lists only fields of the form, because the router and the service write other attributes. After a key
        // change, the mark of a password differs although the password is the same.
        let told = RecordLayout.of(entity).fields
        let taken = comparison.taken.filter { name in
            told.contains(name)
                && (entity[name]?.isEncrypted != true || Self.isOfOneKey(typing.loaded[name] ?? "", theirs[name] ?? ""))
        }
        var values = try form.values()
        var who = visit.text("anotherPerson")
        var isYou = false
        if case .id(let id) = try record.value(of: "modifiedby") {
            who = try await RecordNames(["systemuser": [id]], try visit.session())[id] ?? who
            isYou = try visit.session().caller.systemUserID == id
        }
        let by = ActorName.shown(systemUser: who, visit.texts)
        var conflict: [String: Any] = [
            "text": isYou ? visit.text("conflictByYou") : visit.text("conflictBy", ["who": by]),
            "contested": comparison.contested.compactMap(row),
            "hasContested": !comparison.contested.isEmpty, "taken": taken.compactMap(row), "hasTaken": !taken.isEmpty,
        ]
        if case .date(let date) = try record.value(of: "modifiedon") { conflict["when"] = visit.texts.timeAgo(date) }
        values["conflict"] = conflict
        return .page("form", values, status: .conflict)
    }

    /// The form that a person sees if another person deleted the record meanwhile. The form keeps the typed values, which can be
    /// saved as a new record.
    func deletedMeanwhile(_ entity: EntityDefinition, _ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        func secrets(_ record: UUID?) throws -> KeptSecrets {
            try KeptSecrets(
                deployment.kek, organization: session.organization.id, form: entity.logicalName, record: record,
                token: visit.token ?? "")
        }
        var typing = TypedRecord(visit, entity, isNew: true, record: nil)
        typing.readSecrets(try secrets(visit.parameter("id").flatMap(UUID.init(text:))))
        var form = try await recordForm(visit, entity, nil)
        form.isDeleted = true
        form.typed = typing.typed
        // References that were not edited get names that a lookup finds.
        for attribute in RecordForm.fields(entity, for: .create, visit.roles) where attribute.type.isReference {
            let name = attribute.logicalName
            guard let id = visit.form["\(name)!id"].flatMap(UUID.init(text:)), typing.typed[name] == typing.loaded[name] else {
                continue
            }
            let targets = Dictionary(attribute.type.targets.map { ($0, Set([id])) }) { one, _ in one }
            form.typed?[name] = try await RecordNames(targets, session)[id] ?? ""
        }
        form.kept = try typing.kept(try secrets(nil), [:])
        var values = try form.values()
        // A person who does not see all records must not learn whether the record exists.
        let seesAll = PrivilegeTable.depth(of: .retrieve, on: entity, for: visit.roles) == .organization
        let next = Self.may(.create, entity, visit) ? "typedMakesNew" : "typedToCopy"
        values["problem"] = visit.text(seesAll ? "deletedMeanwhile" : "goneMeanwhile") + " " + visit.text(next)
        return .page("form", values, status: .conflict)
    }

    private static func row(
        _ attribute: AttributeDefinition, _ entity: EntityDefinition, _ old: String, _ their: String, _ your: String, _ visit: Visit
    ) -> [String: Any] {
        func shown(_ text: String) -> String {
            if text.isEmpty { return "—" }
            switch attribute.type {
            case .boolean: return visit.text(text == "true" ? "yes" : "no")
            default: return Int64(text).map { attribute.type.options == nil ? text : visit.texts.option($0, of: attribute) } ?? text
            }
        }
        return [
            "name": attribute.logicalName, "label": visit.texts.label(attribute, of: entity), "isSecret": false,
            "loaded": shown(old), "theirs": shown(their), "yours": shown(your),
        ]
    }

    /// The row about a password, which shows no value.
    private static func secretRow(
        _ attribute: AttributeDefinition, _ entity: EntityDefinition, _ old: String, _ their: String, _ your: String, _ visit: Visit
    ) -> [String: Any] {
        [
            "name": attribute.logicalName, "label": visit.texts.label(attribute, of: entity), "isSecret": true,
            "loaded": visit.text(old.isEmpty ? "isNotSet" : "isSet"),
            "theirs": visit.text(their.isEmpty ? "isNotSet" : your == old ? "newValue" : "secretStoredNow"),
            "yours": visit.text(your.isEmpty ? "clear" : "secretTyped"),
        ]
    }

    /// Whether two marks are of the same key version. A password without a value has no mark.
    private static func isOfOneKey(_ mark: String, _ other: String) -> Bool {
        let versions = [mark, other].filter { !$0.isEmpty }.compactMap { $0.split(separator: ".").first }
        return Set(versions).count < 2
    }
}
