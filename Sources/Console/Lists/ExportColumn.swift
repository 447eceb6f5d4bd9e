import Foundation
import Model
import Records

/// A column of an exported list.
///
/// The first columns are those of the list. Then follow the record's id, and the ids and numbers whose names and words the first
/// columns show.
struct ExportColumn {
    /// How a column's values are written.
    private enum Form {
        /// The value as programs read it.
        case plain
        /// The name of the record that the value refers to.
        case name
        /// An option's label, or the state of a mailbox, in the reader's language.
        case words
    }

    /// The column's heading in the first line, in the reader's language. Headings of the list's columns are the list's own.
    let heading: String
    private let attribute: AttributeDefinition?
    private let form: Form

    /// The name of a list's file without its extension: the plural of the records' kind.
    static func file(of entity: EntityDefinition) -> String {
        ["usersettings": "usersettings", "tracelog": "alerts"][entity.logicalName] ?? entity.entitySetName
    }

    static func all(_ request: Console.ListRequest, _ texts: Texts) -> [ExportColumn] {
        let entity = request.entity
        var (shown, behind): ([ExportColumn], [ExportColumn]) = ([], [])
        for column in request.columns {
            guard let attribute = entity[column] else {
                shown.append(ExportColumn(heading: texts[column], attribute: nil, form: .words))
                continue
            }
            let label = texts.label(attribute, of: entity)
            let isName: Bool = attribute.type.isReference || column == entity.primaryID
            let form: Form = isName ? .name : attribute.type.options == nil ? .plain : .words
            shown.append(ExportColumn(heading: label, attribute: attribute, form: form))
            guard form != .plain, column != entity.primaryID else { continue }
            let plain = texts.text(isName ? "exportID" : "exportNumber", ["label": label])
            behind.append(ExportColumn(heading: plain, attribute: attribute, form: .plain))
        }
        let id = entity[entity.primaryID].map { ExportColumn(heading: texts["exportRecordID"], attribute: $0, form: .plain) }
        return shown + [id].compactMap { $0 } + behind
    }

    /// The attributes that the columns need.
    static func attributes(_ request: Console.ListRequest) -> [String] {
        var names = [request.entity.primaryID] + request.columns.filter { request.entity[$0] != nil }
        if request.entity.logicalName == "mailbox" { names += MailboxState.columns }
        var seen: Set<String> = []
        return names.filter { seen.insert($0).inserted }
    }

    /// - Parameter recipients: The recipients of e-mails, by the ids of the e-mails.
    func text(_ record: Record, _ names: RecordNames, _ recipients: [UUID: [String]], _ texts: Texts) throws -> String {
        guard let attribute else { return texts["mailboxState:\(try MailboxState(record).rawValue)"] }
        let value = try record.value(of: attribute.logicalName)
        switch (form, value) {
        case (.name, .id(let id)): return names[id] ?? ""
        case (.words, .int(let number)): return texts.option(number, of: attribute)
        case (_, .bool(let flag)): return texts[flag ? "yes" : "no"]
        case (_, .text(let text)) where attribute.logicalName == "torecipients":
            return RecipientList(text, all: recipients[record.id]).full
        default: return CSV.text(value)
        }
    }
}
