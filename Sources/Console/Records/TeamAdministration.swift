import Foundation
import JSON
import Model
import Records
import Tenancy

/// What a System Administrator may do with teams that own records with passwords: make them, and change their members.
///
/// The initializer checks the caller's role, so the methods do not check it again.
struct TeamAdministration {
    private let session: Session

    /// Checks that the caller is a System Administrator.
    ///
    /// - Throws: ``FieldsealError`` `.privilegeDenied` for another role, and for a caller that acts for another user.
    init(_ session: Session) throws {
        try session.requireSystemAdministrator(to: "change the members of teams")
        self.session = session
    }

    func add(_ user: UUID, to team: UUID) async throws { try await session.setMembers([user], of: team, areMembers: true) }

    func remove(_ user: UUID, from team: UUID) async throws { try await session.setMembers([user], of: team, areMembers: false) }

    /// Makes a team that owns a record, such as a queue and its mailbox.
    ///
    /// - Parameter member: The team's first member: the record's former owner. A disabled user does not become a member.
    func make(_ name: String, for record: Record, of entity: EntityDefinition, member: UUID) async throws {
        let team = UUID()
        try await session.write(.create(.team, id: team, [.init("name", .string(name))]))
        do {
            do { try await add(member, to: team) } catch let error as FieldsealError where error.code == .userDisabled {}
            let owned = JSONValue.Member("ownerid@odata.bind", .string("/teams(\(team.text))"))
            if case .id(let mailbox) = try record.value(of: "defaultmailbox") {
                try await session.write(.upsert(.mailbox, .id(mailbox), [owned], .mustExist))
            }
            try await session.write(.upsert(entity, .id(record.id), [owned], .mustExist))
        } catch {
            _ = try? await session.write(.delete(.team, .id(team)))
            throw error
        }
    }
}
