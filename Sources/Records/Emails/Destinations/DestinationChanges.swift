import Foundation
import JSON
import Model
import PostgresClient
import Tenancy

/// The changes of one transaction to settings that decide where credentials are sent. The changes are checked after all writes, so
/// the order and grouping of the writes do not matter.
struct DestinationChanges {
    /// An encrypted attribute of a record.
    struct Credential: Hashable {
        let entity: String
        let record: UUID
        let attribute: String
    }

    /// The error for a refused change, and the event to record for the caller that made the change.
    struct Refusal: Error {
        let error: FieldsealError
        let details: String
        let session: Session
    }

    /// The attributes of one record's settings that the writes of one caller name and change.
    private struct Part {
        let session: Session
        /// The attributes that the caller named, except in writes that confirm nothing (``Start/isSentAsRead``).
        var named: Set<String> = []
        /// The attributes to which the caller gave a value that differs from the value before the first write.
        var changed: Set<String> = []
    }

    /// A record's settings before the first write, and the attributes that each caller's writes name and change.
    private struct Start {
        let destination: MailDestination?
        let isAuthorized: Bool
        /// One part for each caller, in the order of their first writes.
        var parts: [Part] = []
        /// Whether a client sent settings together with values that only a read returns. A write with such values confirms nothing.
        var isSentAsRead = false
        /// The values after the writes, computed from what clients sent, in the order of ``MailDestination/values``.
        var expected: [String?]

        var named: Set<String> { parts.reduce(into: []) { $0.formUnion($1.named) } }

        /// The callers that are responsible for a change: each caller that gave one of the attributes another value. If no caller
        /// did, every caller is responsible.
        ///
        /// - Parameter moved: The attributes whose values changed. Nil for settings that are new or that SQL wrote: then every
        ///   caller is responsible.
        func authors(of moved: Set<String>?) -> [Session] {
            guard let moved else { return parts.map(\.session) }
            let authors = parts.filter { !$0.changed.isDisjoint(with: moved) }
            return (authors.isEmpty ? parts : authors).map(\.session)
        }

        /// Adds the attributes that a write names and changes to the ``Part`` of the write's caller.
        mutating func take(_ input: ParsedValues, isNew: Bool, by session: Session) {
            let part = part(of: session)
            if input.isWrittenBack {
                isSentAsRead = true
            } else {
                parts[part].named.formUnion(input.names)
                if let destination { parts[part].named.formUnion(destination.agreed(with: input)) }
            }
            let attributes = MailDestination.attributes(of: input.entity.logicalName)
            if isNew { expected = attributes.map { DestinationChanges.initialValue($0, of: input.entity) } }
            for (index, attribute) in attributes.enumerated() where expected.indices.contains(index) {
                if let value = input.values[attribute] { expected[index] = DestinationChanges.text(value) }
                guard isNew || input.values[attribute] != nil else { continue }
                if destination.map({ $0.values[index] != expected[index] }) ?? true { parts[part].changed.insert(attribute) }
            }
        }

        /// The index of a caller's part, which is added if it is missing.
        mutating func part(of session: Session) -> Int {
            if let place = parts.firstIndex(where: { $0.session.caller.actor == session.caller.actor }) { return place }
            parts.append(Part(session: session))
            return parts.count - 1
        }
    }

    private var starts: [MailDestination.Place: Start] = [:]
    private var order: [MailDestination.Place] = []
    /// Credentials that the writes set.
    private var renewed: Set<Credential> = []
    /// The profiles that were deleted. If a profile is created again with the same id, none of its settings is authorized at first.
    private var deletedProfiles: Set<UUID> = []

    /// Whether a write can change where credentials are sent.
    static func isTouched(by input: ParsedValues, isNew: Bool) -> Bool {
        let attributes = MailDestination.attributes(of: input.entity.logicalName)
        guard !attributes.isEmpty else { return false }
        // A mailbox may still refer to a deleted profile. A new profile with the same id names the servers of that mailbox.
        if isNew, input.entity.logicalName == EntityDefinition.emailServerProfile.logicalName { return true }
        return attributes.contains { input.isNaming($0) || input.agreed[$0] != nil }
    }

    /// Reads a record's settings before a write, and locks its row.
    mutating func begin(
        _ input: ParsedValues, id: UUID, isNew: Bool, in session: Session, on connection: isolated PostgresConnection
    ) throws {
        guard Self.isTouched(by: input, isNew: isNew) else { return }
        let place = MailDestination.Place(entity: input.entity.logicalName, id: id)
        if starts[place] == nil {
            let before = try MailDestination.read(
                place, session.state.grants, in: session.organization, under: session.deployment.kek, locks: true, on: connection)
            starts[place] = Start(
                destination: before?.destination, isAuthorized: before?.isAuthorized ?? true,
                expected: before?.destination.values ?? [])
            order.append(place)
        }
        starts[place]?.take(input, isNew: isNew, by: session)
    }

    /// The value that a new record gets for an attribute that the client does not name.
    private static func initialValue(_ attribute: String, of entity: EntityDefinition) -> String? {
        guard case .value(let value)? = entity.serverDefaults.first(where: { $0.name == attribute })?.serverDefault else {
            return nil
        }
        return text(value)
    }

    /// A value as text, in the form in which ``MailDestination`` reads it from the database.
    private static func text(_ value: AttributeValue) -> String? {
        switch value {
        case .text(let text): text
        case .int(let number): "\(number)"
        case .bool(let flag): "\(flag)"
        case .id(let id): id.text
        case .null, .decimal, .date, .bytes: nil
        }
    }

    /// Notes that a caller deleted a record, which cleared the lookups that referred to it.
    mutating func delete(_ entity: EntityDefinition, _ id: UUID, clearing lookups: [EntityRelationship], by session: Session) {
        if entity === EntityDefinition.emailServerProfile { deletedProfiles.insert(id) }
        for lookup in lookups { clear(lookup.attribute.logicalName, of: lookup.referencing.logicalName, from: id, by: session) }
    }

    /// Whether the settings are those of a profile that was deleted and created again, or name such a profile.
    private func isRemade(_ settings: MailDestination) -> Bool {
        let profile = settings.isProfile ? settings.place.id : settings.value("emailserverprofile").flatMap { UUID(text: $0) }
        return profile.map(deletedProfiles.contains) ?? false
    }

    private mutating func clear(_ lookup: String, of entity: String, from deleted: UUID, by session: Session) {
        guard let index = MailDestination.attributes(of: entity).firstIndex(of: lookup) else { return }
        for place in order where place.entity == entity {
            guard let expected = starts[place]?.expected, expected.indices.contains(index), expected[index] == deleted.text else {
                continue
            }
            starts[place]?.expected[index] = nil
            if let part = starts[place]?.part(of: session) { starts[place]?.parts[part].changed.insert(lookup) }
        }
    }

    /// Notes the credentials that a write set.
    mutating func renew(_ input: ParsedValues, id: UUID) {
        for (attribute, value) in input.secrets where value != nil {
            renewed.insert(Credential(entity: input.entity.logicalName, record: id, attribute: attribute))
        }
    }

    /// Checks the changes, authorizes the new settings, and records the changes that concern credentials. The servers of deleted
    /// profiles are no longer authorized.
    ///
    /// Call it last in the transaction. The step that locks the attested state comes last here, because all sign-ins wait for that
    /// lock, and a change set may take long.
    ///
    /// - Parameter session: The session of the transaction. The rights that count are those of the callers that made the changes.
    /// - Throws: ``Refusal`` if a credential would be sent elsewhere and the caller may not decide that. Also thrown if SQL changed
    ///   the settings, and the write does not confirm all of them.
    func settle(in session: Session, on connection: isolated PostgresConnection) throws {
        let (organization, kek, grants) = (session.organization, session.kek, session.state.grants)
        var changed: [Grant] = []
        var events: [(event: SecurityEvent, author: Caller)] = []
        for place in order {
            guard let start = starts[place],
                let after = try MailDestination.read(place, grants, in: organization, under: kek, locks: false, on: connection)?
                    .destination
            else { continue }
            try requireSent(after, start.expected, session)
            let isForeign = start.destination.map { !$0.isEmpty && !start.isAuthorized } ?? false
            let isRemade = isRemade(after)
            guard isForeign || isRemade || start.destination != after else { continue }
            if isForeign, let stored = start.destination {
                try requireReview(stored, to: after, start, session, on: connection)
            }
            let credentials = try credentials(behind: place, in: organization, on: connection)
            // If SQL changed the settings, or their profile was created again, any attribute may have changed.
            let moved = isForeign || isRemade ? nil : start.destination.map(after.changes)
            let kept = credentials.filter { !renewed.contains($0) && Self.isConcerned($0, by: moved, of: place) }
            let authors = start.authors(of: moved)
            if !kept.isEmpty, let author = authors.first(where: { $0.caller.role != .systemAdministrator }) {
                throw refusal(place, kept, author)
            }
            try after.authorize(in: organization, under: kek, on: connection)
            let grant = Grant.mailServer(place.id, tag: try after.tag(in: organization, under: kek))
            let isGranted = try after.isProfile && (isRemade || start.destination != nil || grants.names(grant.name))
            if isGranted { changed.append(grant) }
            // No event is recorded if the earlier settings named no server and no account, and the same request set every
            // credential. No credential from before the request goes to another server then. A change of the attested state
            // always has an event, so that SQL can't put back the former state without a difference.
            let isMoved = start.destination.map(\.namesPlace) ?? false
            guard isGranted || !kept.isEmpty || isMoved && !credentials.isEmpty else { continue }
            events += authors.map {
                (.init(.mailDestinationChanged, .succeeded, details: "\(place.entity) \(place.id.text)"), $0.caller)
            }
        }
        guard !changed.isEmpty || !deletedProfiles.isEmpty else {
            for (event, author) in events { try event.insert(for: organization, by: author, under: kek, on: connection) }
            return
        }
        for profile in deletedProfiles {
            let details = "\(EntityDefinition.emailServerProfile.logicalName) \(profile.text): it was deleted"
            events.append((.init(.mailDestinationChanged, .succeeded, details: details), session.caller))
        }
        try AttestedState.change(of: organization, under: kek, on: connection) { change in
            for profile in deletedProfiles { try change.revoke(Grant.mailServer(profile, tag: []).name) }
            for grant in changed { _ = try change.grant(grant) }
            for (event, author) in events { try change.append(event, by: author, on: connection) }
        }
    }

    /// Whether a change concerns a credential. A change of a server concerns all credentials that are used there. A change of a
    /// user name concerns only the credential of the same record.
    private static func isConcerned(_ credential: Credential, by moved: Set<String>?, of place: MailDestination.Place) -> Bool {
        guard let moved, moved.isSubset(of: MailDestination.accountAttributes) else { return true }
        guard credential.entity == place.entity else { return false }
        // A profile has a user name and a password for each direction.
        return place.entity != EntityDefinition.emailServerProfile.logicalName
            || moved.contains { $0.prefix(8) == credential.attribute.prefix(8) }
    }

    /// Requires that the stored settings equal the settings that the client sent, before the stored settings are authorized. A
    /// trigger of the database's owner could have changed the stored settings.
    private func requireSent(_ after: MailDestination, _ expected: [String?], _ session: Session) throws {
        guard after.values != expected else { return }
        let names = MailDestination.attributes(of: after.place.entity)
        let changed = names.indices.filter { !expected.indices.contains($0) || after.values[$0] != expected[$0] }.map { names[$0] }
            .joined(separator: ", ")
        throw Refusal(
            error: FieldsealError(
                .unexpected,
                "The database changed settings that say where credentials go while they were written, so nothing was stored: "
                    + "\(changed). A trigger or function was added to the table. fieldseal doctor names what differs."),
            details: "\(after.place.entity) \(after.place.id.text): the database changed \(changed)", session: session)
    }

    /// Settings that the service did not write are authorized only by writes that name all of them. Writing back a record as it
    /// was read does not count: it names all settings, but the caller may not have checked them.
    private func requireReview(
        _ stored: MailDestination, to after: MailDestination, _ start: Start, _ session: Session,
        on connection: isolated PostgresConnection
    ) throws {
        let missing = stored.present.filter { !start.named.contains($0) }
        guard !missing.isEmpty else { return }
        // Callers with other roles may not read which servers a profile names.
        let isAdministrator = start.parts.allSatisfy { $0.session.caller.role == .systemAdministrator }
        let whose = isAdministrator ? try stored.whose(at: after, in: session.organization, on: connection) : ""
        let names = missing.map { $0 == "regardingobjectid" && !whose.isEmpty ? "\($0) (\(whose))" : $0 }.joined(separator: ", ")
        let entity = stored.place.entity
        let error =
            start.isSentAsRead
            ? FieldsealError(
                .privilegeDenied,
                "The settings of this \(entity) that say where credentials go were changed by SQL, and not by the service. Sending "
                    + "the record back as it was read does not confirm them. Check these settings, and send all of them in an "
                    + "update without values that only a read returns, such as createdon or @odata.etag: \(names)."
            )
            : FieldsealError(
                .privilegeDenied,
                "The settings of this \(entity) that say where credentials go were changed by SQL, and not by the service. Check "
                    + "them, and name all of them in one request: \(names).")
        throw Refusal(
            error: error,
            details: "\(stored.place.entity) \(stored.place.id.text): settings not authorized",
            session: start.parts.first?.session ?? session)
    }

    private func refusal(_ place: MailDestination.Place, _ kept: [Credential], _ author: Session) -> Refusal {
        let names = kept.prefix(3).map { "\($0.attribute) of \($0.entity) \($0.record.text)" }.joined(separator: ", ")
        let rest = kept.count > 3 ? " and \(kept.count - 3) more" : ""
        return Refusal(
            error: FieldsealError(
                .privilegeDenied,
                "This request would change the server that stored credentials are sent to, or the account that they sign in to: "
                    + "\(names)\(rest). Set each of these credentials again in the same request, or ask a System Administrator."
            ),
            details: "\(place.entity) \(place.id.text): \(kept.count) credentials", session: author)
    }

    /// The credentials that can be released under a record's settings, regardless of its current retrieval settings. The rows of
    /// these credentials stay locked. So another transaction that sets a password at the same moment waits for this one, or has
    /// ended and its password is seen here.
    private func credentials(
        behind place: MailDestination.Place, in organization: Organization, on connection: isolated PostgresConnection
    ) throws -> [Credential] {
        let isProfile = place.entity == EntityDefinition.emailServerProfile.logicalName
        var credentials: [Credential] = []
        func add(_ entity: EntityDefinition, where condition: String) throws {
            let attributes = entity.encryptedAttributes.map(\.logicalName)
            // Checks both the flag and the cell, because SQL may have changed either.
            let flags = attributes.map { attribute in
                """
                coalesce(r.\(quoteIdentifier(entity.isSetColumns[attribute] ?? "")), false) OR EXISTS (
                    SELECT FROM \(organization.qualified(entity.cellTable)) AS c
                     WHERE c.\(entity.idColumn) = r.\(entity.idColumn) AND c.\(quoteIdentifier(attribute)) IS NOT NULL)
                """
            }
            let rows = try connection.query(
                """
                SELECT r.\(entity.idColumn), \(flags.joined(separator: ", ")) FROM \(organization.qualified(entity.logicalName)) AS r
                 WHERE \(condition) ORDER BY 1 FOR UPDATE OF r
                """, [.uuid(place.id)])
            for row in rows {
                for (index, attribute) in attributes.enumerated() where try row.decode(index + 1, as: Bool.self) {
                    credentials.append(
                        Credential(entity: entity.logicalName, record: try row.decode(0), attribute: attribute))
                }
            }
        }
        if let holder = [EntityDefinition.queue, .userSettings].first(where: { $0.logicalName == place.entity }) {
            try add(holder, where: "r.\(holder.idColumn) = $1")
            return credentials
        }
        let boxes = organization.qualified("mailbox")
        let behind = "SELECT m.regardingobjectid FROM \(boxes) AS m WHERE m.\(isProfile ? "emailserverprofile" : "mailboxid") = $1"
        if isProfile { try add(.emailServerProfile, where: "r.emailserverprofileid = $1") }
        try add(.mailbox, where: "r.\(isProfile ? "emailserverprofile" : "mailboxid") = $1")
        try add(.queue, where: "r.queueid IN (\(behind))")
        try add(.userSettings, where: "r.systemuserid IN (\(behind))")
        return credentials
    }
}
