import Foundation
import JSON
import Model
import Records
import Tenancy

/// The server profile that a person enters when they connect a mailbox.
struct TypedProfile {
    let members: [JSONValue.Member]

    /// The settings by which profiles are compared.
    private static let settings = [
        "servertype", "incomingserverlocation", "incomingportnumber", "incomingusessl", "outgoingserverlocation",
        "outgoingportnumber", "outgoingusessl", "incomingcredentialretrieval", "outgoingcredentialretrieval",
        "incomingauthenticationprotocol", "outgoingauthenticationprotocol", "usesamesettingsforoutgoingconnections",
    ]
    /// The largest number of profiles that are compared.
    private static let compared = 200

    private func member(_ name: String) -> JSONValue? { members.first { $0.name == name }?.value }

    /// The person's own profile with the same servers and settings, which is reused; nil if there is none.
    func equal(_ session: Session) async throws -> UUID? {
        var query = RecordQuery()
        query.outputs = Self.settings.map { .init(.column(.init($0))) }
        query.filter = .all([
            .isCallers(.init("ownerid"), .user), .compare(.init("statecode"), .equal, .number("\(RecordState.active.rawValue)")),
            .compare(.init("incomingserverlocation"), .equal, .text(member("incomingserverlocation")?.string ?? "")),
        ])
        query.order = [.init(.column(.init("createdon")))]
        query.pageSize = Self.compared
        return try await session.list(.emailServerProfile, query).records.first { profile in
            try Self.settings.allSatisfy { Self.isEqual(try profile.value(of: $0), member($0)) }
        }?.id
    }

    private static func isEqual(_ stored: AttributeValue, _ typed: JSONValue?) -> Bool {
        switch (stored, typed) {
        case (.null, nil): true
        case (.text(let text), .string(let typed)?): text.lowercased() == typed.lowercased()
        case (.int(let number), .integer(let typed)?): number == typed
        case (.bool(let flag), .bool(let typed)?): flag == typed
        default: false
        }
    }

    /// The members of a new profile. The name gets a number if other profiles have the same name.
    func named(_ session: Session) async throws -> [JSONValue.Member] {
        let name = member("name")?.string ?? ""
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("name")))]
        query.filter = .like(.init("name"), .holding(String(name.prefix(Self.nameLimit))))
        query.pageSize = Self.compared
        let found = try await session.list(.emailServerProfile, query).records
        let taken = Set(try found.map { try Console.text("name", of: $0).lowercased() })
        guard taken.contains(name.lowercased()) else { return members }
        let numbered = (2...taken.count + 2).lazy.map { "\(name.prefix(Self.nameLimit)) \($0)" }
        let free = numbered.first { !taken.contains($0.lowercased()) } ?? name
        return members.map { $0.name == "name" ? .init("name", .string(free)) : $0 }
    }

    /// How many characters of a profile's name are kept when a number is appended to it.
    private static let nameLimit = 90
}
