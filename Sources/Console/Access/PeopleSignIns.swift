import Authentication
import Foundation
import Model
import PostgresClient
import Tenancy

/// Who has signed in, and what happened to the links of people who have not.
struct PeopleSignIns {
    /// The last sign-ins by actor.
    let last: [String: Date]
    /// Every sign-in since this time is known. Of earlier sign-ins, only some are known.
    private let since: Date
    /// When links were withdrawn, by the names of people who have used no link since then.
    private let withdrawn: [String: Date]

    /// How many events about links are read.
    private static let searched = 500
    private static let (isWithdrawn, isUsed) = (": invitation withdrawn", ", by invitation")

    init(_ session: Session) async throws {
        let reading = try EventReading(session)
        (last, since) = try await reading.lastSignIns()
        var filter = EventFilter()
        filter.kinds = [SecurityEvent.Kind.userChanged, .userReset].map(\.rawValue)
        filter.outcome = SecurityEvent.Outcome.succeeded.rawValue
        filter.details = "invitation"
        var ends: [String: Date?] = [:]
        // Only the newest event of a person counts.
        for event in try await reading.events(filter, limit: Self.searched) {
            let details = event.details ?? ""
            guard let end = [Self.isWithdrawn, Self.isUsed].first(where: { details.hasSuffix($0) }) else { continue }
            let name = String(details.dropLast(end.count))
            guard ends[name] == nil else { continue }
            ends.updateValue(end == Self.isWithdrawn ? event.occurredOn : nil, forKey: name)
        }
        withdrawn = ends.compactMapValues(\.self)
    }

    /// When a person last signed in. Sign-ins before this person was added are left out: they are those of a removed person with
    /// the same name.
    func last(_ entry: PeopleAdministration.Entry) -> Date? {
        last["user:\(entry.name)"].flatMap { $0 >= entry.createdOn ? $0 : nil }
    }

    /// The key of the text about a person or a client without a known sign-in: either that they never signed in, or not lately.
    func none(addedOn created: Date, sessions: Int = 0) -> String {
        created >= since && sessions == 0 ? "neverSignedIn" : "notLately"
    }

    /// Whether a person could sign in, and there is no sign that they ever did.
    private func mayBeNew(_ entry: PeopleAdministration.Entry) -> Bool {
        entry.isAuthentic && entry.disabledOn == nil && last(entry) == nil && entry.sessions == 0
    }

    /// When the link for a person's first sign-in ends; nil after that sign-in, and without a link.
    func waiting(_ entry: PeopleAdministration.Entry) -> Date? {
        guard mayBeNew(entry) else { return nil }
        return entry.invitation?.end.date ?? entry.invitationEnded
    }

    /// The key of the notice about a person who has not signed in; nil if there is nothing to say.
    func unused(_ entry: PeopleAdministration.Entry) -> (style: String, key: String)? {
        guard mayBeNew(entry) else { return nil }
        if entry.invitation != nil { return ("", "invited") }
        if entry.invitationEnded != nil { return ("warn", "linkExpired") }
        // If the person was added before the known sign-ins begin, there is no notice.
        guard entry.createdOn >= since else { return nil }
        guard let end = withdrawn[entry.name], end >= entry.createdOn else { return ("", "notSignedInYet") }
        return ("warn", "linkWithdrawn")
    }
}
