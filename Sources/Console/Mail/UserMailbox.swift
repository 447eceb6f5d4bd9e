import Authentication
import Foundation
import JSON
import Model
import Records
import Tenancy

// The mailbox of a person: its address in the form for a new person, and its place on the person's page.
extension Console {
    /// The name of the field with the address of a person's mailbox.
    static let mailboxAddressField = "address"

    /// The mailbox that belongs to a user; nil for none, and for a person who may not read it.
    func mailbox(ofUser user: UUID, _ visit: Visit) async throws -> (id: UUID, name: String)? {
        guard Navigation.mayList(.mailbox, visit.roles) else { return nil }
        var query = RecordQuery()
        query.outputs = ["name", "emailaddress"].map { .init(.column(.init($0))) }
        query.filter = .compare(.init("regardingobjectid"), .equal, .text(user.text))
        query.order = [.init(.column(.init("createdon")))]
        query.pageSize = 1
        guard let found = try await visit.session().list(.mailbox, query).records.first else { return nil }
        let (name, address) = (try Self.text("name", of: found), try Self.text("emailaddress", of: found))
        let shown = address.isEmpty || name == address ? name : "\(name) <\(address)>"
        return (found.id, shown.isEmpty ? visit.text("unnamed") : shown)
    }

    /// The values of the template about a person's mailbox: the mailbox, or else the form for its address.
    func mailboxValues(ofUser user: UUID, isEnabled: Bool, _ visit: Visit) async throws -> [String: Any] {
        let own = try await mailbox(ofUser: user, visit)
        return [
            "mailbox": orFalse(own.map { ["name": $0.name, "href": "\(visit.root)/records/mailboxes/\($0.id.text)"] }),
            "mayMakeMailbox": own == nil && isEnabled && Self.may(.create, .mailbox, visit),
            "address": visit.form[Self.mailboxAddressField] ?? "",
        ]
    }

    /// The typed address of a person's mailbox; nil for none.
    ///
    /// - Throws: ``FieldsealError`` for a text that is not an address, and for an address that another queue or mailbox has.
    func typedMailboxAddress(_ visit: Visit) async throws -> String? {
        let address = (visit.form[Self.mailboxAddressField] ?? "").trimmingCharacters(in: .whitespaces)
        guard !address.isEmpty else { return nil }
        guard TypedRecord.isAddress(address) else { throw FieldsealError(.invalidArgument, visit.text("notAnAddress")) }
        if let holder = try await holder(of: address, besides: nil, nil, visit) {
            throw FieldsealError(
                .duplicateRecord, visit.text("personAddressTaken", ["address": address, "holder": holder]))
        }
        return address
    }

    /// Makes the mailbox of a person whose page or form has its address.
    func makeMailbox(of entry: PeopleAdministration.Entry, _ visit: Visit) async throws {
        guard let address = try await typedMailboxAddress(visit) else {
            throw FieldsealError(.invalidArgument, visit.text("notAnAddress"))
        }
        try await visit.session().makeMailbox(ofUser: entry.systemUserID, address: address)
    }
}
