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

    /// The column's name in the first line, the same in each language.
    let name: String
    private let attribute: AttributeDefinition?
    private let form: Form

    /// The name of a list's file without its extension: the plural of the records' kind.
    static func file(of entity: EntityDefinition) -> String {
        ["usersettings": "usersettings", "tracelog": "alerts"][entity.logicalName] ?? entity.entitySetName
    }

    static func all(_ request: Console.ListRequest) -> [ExportColumn] {
        let entity = request.entity
        var (shown, behind): ([ExportColumn], [ExportColumn]) = ([], [])
        for column in request.columns {
            guard let attribute = entity[column] else {
                shown.append(ExportColumn(name: "status", attribute: nil, form: .words))
                continue
            }
            let plain = ExportColumn(name: column, attribute: attribute, form: .plain)
            let form: Form =
                attribute.type.isReference || column == entity.primaryID
                ? .name : attribute.type.options == nil ? .plain : .words
            shown.append(form == .plain ? plain : ExportColumn(name: "\(column)name", attribute: attribute, form: form))
            if form != .plain, column != entity.primaryID { behind.append(plain) }
        }
        let id = entity[entity.primaryID].map { ExportColumn(name: entity.primaryID, attribute: $0, form: .plain) }
        return shown + [id].compactMap { $0 } + behind
    }

    /// The attributes that the columns need.
    static func attributes(_ request: Console.ListRequest) -> [String] {
        var names = [request.entity.primaryID] + request.columns.filter { request.entity[$0] != nil }
        if request.entity.logicalName == "mailbox" { names += MailboxState.columns }
        var seen: Set<String> = []
        return names.filter { seen.insert($0).inserted }
    }

    func text(_ record: Record, _ names: RecordNames, _ texts: Texts) throws -> String {
        guard let attribute else { return texts["mailboxState:\(try MailboxState(record).rawValue)"] }
        let value = try record.value(of: attribute.logicalName)
        switch (form, value) {
        case (.name, .id(let id)): return names[id] ?? ""
        case (.words, .int(let number)): return texts.option(number, of: attribute)
        case (_, .text(let text)) where attribute.logicalName == "torecipients": return RecipientList(text).full
        default: return CSV.text(value)
        }
    }
}
