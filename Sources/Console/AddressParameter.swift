import Foundation
import Hummingbird
import JSON
import Model
import Tenancy

/// A parameter in the address of a page, with the values that it accepts.
///
/// A page refuses every other parameter and value. A page that ignored an unknown filter would show more than was requested.
struct AddressParameter: Sendable {
    let name: String
    /// Whether `name` is only a prefix of the parameter's name.
    var isPrefix = false
    let accepts: @Sendable (_ value: String, _ visit: Visit) -> Bool

    /// The longest typed text in characters.
    static let textLimit = 100
    /// The longest name of a person or client in characters, with its kind, such as `user:ada`.
    static let actorLimit = 300

    static func text(_ name: String, upTo limit: Int = textLimit) -> AddressParameter {
        AddressParameter(name: name) { value, _ in value.count <= limit }
    }

    /// A value that the page itself checks, such as an invitation.
    static func any(_ name: String) -> AddressParameter { AddressParameter(name: name) { _, _ in true } }

    static func choice(_ name: String, _ choices: [String]) -> AddressParameter {
        AddressParameter(name: name) { value, _ in choices.contains(value) }
    }

    static func number(_ name: String, in range: ClosedRange<Int>) -> AddressParameter {
        AddressParameter(name: name) { value, _ in Int(value).map { range.contains($0) } ?? false }
    }

    static func moment(_ name: String) -> AddressParameter {
        AddressParameter(name: name) { value, _ in ISO8601.date(value) != nil }
    }

    static func id(_ name: String) -> AddressParameter {
        AddressParameter(name: name) { value, _ in UUID(text: value) != nil }
    }
}

// The parameters of the pages.
extension Console {
    static let auditParameters: [AddressParameter] = [
        .id("id"), .choice("table", auditedEntities.map(\.logicalName)), .choice("operation", ["1", "2", "3"]), .text("person"),
        .moment("from"), .moment("until"), .moment("fromTime"), .moment("untilTime"), .moment("before"),
    ]
    static let auditPageParameters = auditParameters + [.number("page", in: 0...mostPages)]

    static let eventParameters: [AddressParameter] = [
        .choice("kind", EventGroup.allCases.map(\.rawValue) + SecurityEvent.Kind.allCases.map(\.rawValue)),
        .choice("outcome", SecurityEvent.Outcome.allCases.map(\.rawValue)), .text("actor", upTo: AddressParameter.actorLimit),
        .text("record"), .moment("from"), .moment("until"), .moment("fromTime"), .moment("untilTime"),
    ]
    static let eventPageParameters = eventParameters + [.number("before", in: Int.min...Int.max)]

    /// Names the change of a stored view that the list's notice reports.
    static let viewDone = AddressParameter.choice("done", ["viewKept", "viewRemoved"])

    /// Names the change of a person or a client that the notice on their page reports.
    static let accessDone = AddressParameter.choice("done", accessActions + ["nothingChanged"])

    static let recordParameters: [AddressParameter] = [
        .choice(
            "done",
            [
                "saved", "nothingChanged", "passwordSaved", "passwordTested", "passwordWaits", "testing", "approved",
                "disabledDone", "enabledDone", "sent", "team-add", "team-remove", "team-make", "user-without-sign-in-disable",
                "user-without-sign-in-enable", "user-without-sign-in-hand-over",
            ]),
        shape, ownSignIn, .text(heirParameter),
    ]

    /// Given if a save made a mailbox sign in with its own user name and password.
    static let ownSignIn = AddressParameter.choice("own", ["1"])

    /// Given if the text of an e-mail is shown without its layout.
    static let shape = AddressParameter.choice("as", ["text"])

    /// The parameters of a list of records: search, state, columns, order and page.
    static func exportParameters(_ entity: EntityDefinition) -> [AddressParameter] {
        let layout = RecordLayout.of(entity)
        let sortable = layout.columns.filter { isSortable($0, entity) }
        var parameters: [AddressParameter] = [
            .text("q"), .choice("sort", sortable + sortable.map { "-\($0)" }), .choice("size", pageSizes.map { "\($0)" }),
            // The code for column conditions reports unknown names itself.
            AddressParameter(name: ColumnFilter.prefix, isPrefix: true) { value, _ in value.count <= AddressParameter.textLimit },
        ]
        if entity.logicalName == "mailbox" {
            parameters.append(.choice("status", MailboxState.allCases.map(\.rawValue)))
        } else if let options = layout.filter.flatMap({ entity[$0]?.type.options }) {
            parameters.append(.choice("status", options.options.map { "\($0.value)" }))
        }
        if ["email", "tracelog", "mailbox"].contains(entity.logicalName) { parameters.append(.id("of")) }
        if entity.logicalName == "email" { parameters.append(.choice("answer", ["none"])) }
        if isOwnedWithPasswords(entity) { parameters.append(.id("owner")) }
        return parameters
    }

    /// The longest result of a change of many records in characters.
    private static let resultLimit = 12_000

    static func listParameters(_ entity: EntityDefinition) -> [AddressParameter] {
        exportParameters(entity) + [
            .number("page", in: 0...pageLimit), .choice("done", ["saved", "deleted", "viewKept", "viewRemoved"]),
        ] + (entity.logicalName == "mailbox" ? [.text("result", upTo: resultLimit)] : [])
    }
}

extension Visit {
    /// Checks that the page knows every parameter of its address.
    ///
    /// - Throws: ``FieldsealError`` naming a parameter that the page does not accept, or one that occurs twice.
    func check(_ parameters: [AddressParameter]) throws(FieldsealError) {
        func refused(_ key: String, _ name: String, _ value: String = "") -> FieldsealError {
            FieldsealError(.badRequest, text(key, ["name": Self.shortened(name), "value": Self.shortened(value)]))
        }
        let pairs = (request.uri.query ?? "").split(separator: "&")
        guard pairs.count <= Self.queryLimit else { throw refused("tooManyParameters", "") }
        if let broken = pairs.first(where: { Self.parameter($0) == nil }) { throw refused("unreadableParameter", String(broken)) }
        var seen: Set<String> = []
        for (name, value) in queries {
            guard let parameter = parameters.first(where: { $0.isPrefix ? name.hasPrefix($0.name) : name == $0.name }) else {
                throw refused("unknownParameter", name)
            }
            guard seen.insert(name).inserted else { throw refused("parameterTwice", name) }
            let trimmed = value.trimmingCharacters(in: .whitespacesAndNewlines)
            guard trimmed.isEmpty || parameter.accepts(trimmed, self) else { throw refused("unknownValue", name, trimmed) }
        }
    }

    private static func shortened(_ text: String) -> String {
        text.count <= AddressParameter.textLimit ? text : text.prefix(AddressParameter.textLimit) + "…"
    }
}
