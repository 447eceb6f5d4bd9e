import Foundation
import Model
import PostgresClient
import Records
import Tenancy

/// Finds the e-mail that an incoming e-mail answers.
///
/// The sender of an e-mail chooses its headers and its subject, and could name any other e-mail there. An answer shows the subject
/// of the e-mail that it answers, inherits its regarding record, and raises its number of replies. For this reason, only e-mails of
/// the answer's own mailbox, or e-mails that the mailbox's owner may read, can be the answered e-mail.
extension EmailDelivery {
    /// Finds the e-mail that this one answers: by In-Reply-To and References, then by the tracking token in the subject. If the
    /// organization allows that, the e-mail is also found by subject and people.
    func correlate(_ email: IncomingEmail, _ place: Place, on connection: isolated PostgresConnection) throws -> (
        UUID?, IncomingVerdict.Correlation, hasToken: Bool
    ) {
        let token = email.trackingToken
        let ids = email.answeredIDs
        if place.correlatesHeaders, !ids.isEmpty {
            let parent = try candidate(of: place, on: connection) { bind in
                let ids = bind(.texts(ids))
                return (
                    "e.messageid IS NOT NULL AND lower(e.messageid) = ANY (\(ids))",
                    order: ["array_position(\(ids), lower(e.messageid))", Self.mailboxFirst, "e.createdon"]
                )
            }
            if let parent { return (parent, .inReplyTo, token != nil) }
        }
        if let token {
            let parent = try candidate(of: place, on: connection) { bind in
                (
                    "e.trackingtoken = \(bind(.text(token)))",
                    order: [Self.mailboxFirst, "e.directioncode IS NOT TRUE", "e.createdon DESC"]
                )
            }
            if let parent { return (parent, .trackingToken, true) }
        }
        guard place.matchesSubjects, let parent = try smartMatch(email, place, on: connection) else {
            return (nil, .none, token != nil)
        }
        return (parent, .smartMatching, token != nil)
    }

    /// The newest e-mail of the last 90 days with the same subject, ignoring prefixes such as Re:, and with at least two of the
    /// same people.
    private func smartMatch(_ email: IncomingEmail, _ place: Place, on connection: isolated PostgresConnection) throws -> UUID? {
        let people = ([email.from] + email.to + email.cc).flatMap { EmailAddressRule.forms($0.address) }
        let key = organization.qualified("subject_key")
        return try candidate(of: place, on: connection) { bind in
            let (subject, people) = (bind(.text(email.subject.cut(to: EntityDefinition.emailSubjectUnits))), bind(.texts(people)))
            return (
                """
                \(key)(e.subject) = \(key)(\(subject)) AND e.createdon > now() - interval '90 days' AND \(key)(\(subject)) <> md5('')
                AND (SELECT count(DISTINCT lower(p.addressused)) FROM \(organization.qualified("activityparty")) AS p
                      WHERE p.activityid = e.activityid AND lower(p.addressused) = ANY (\(people))) >= 2
                """, order: ["e.createdon DESC"]
            )
        }
    }

    /// Whether an e-mail was sent or received by the mailbox, which is the first parameter.
    private static let isOfMailbox = "(e.sendermailboxid = $1 OR e.receivingmailboxid = $1)"
    /// Sorts the mailbox's own e-mails first. Without this order, a caller could share an e-mail with the mailbox's owner, and so
    /// divert answers from the e-mail that the mailbox sent.
    private static let mailboxFirst = "\(isOfMailbox) IS NOT TRUE"

    /// The first e-mail to which an answer in the mailbox may be linked. Only received and submitted e-mails are considered: a
    /// draft has no answers.
    private func candidate(
        of place: Place, on connection: isolated PostgresConnection,
        where condition: ((PostgresParameter) -> String) -> (String, order: [String])
    ) throws -> UUID? {
        var statement = StatementBuilder(organization, session.caller)
        _ = statement.bind(.uuid(place.mailbox))
        let (owner, readers) = (statement.bind(.uuid(place.owner)), statement.bind(.texts(Self.readers)))
        let (matches, order) = condition { statement.bind($0) }
        let rule = AccessRule(.email, organization, principal: place.owner, reading: .own)
        let isOwners = rule.condition(.own, .read, "e") { statement.bind($0) } ?? "true"
        let sql = """
            SELECT e.activityid FROM \(organization.qualified("email")) AS e
             WHERE \(matches) AND (e.directioncode IS FALSE OR e.submitter IS NOT NULL)
               AND (\(Self.isOfMailbox) OR \(isOwners)
                    OR EXISTS (SELECT FROM \(organization.userRoles) AS g JOIN \(organization.qualified("role")) AS r ON r.roleid = g.roleid
                                WHERE g.systemuserid = \(owner) AND r.name = ANY (\(readers))))
             ORDER BY \(order.joined(separator: ", ")) LIMIT 1
            """
        return try connection.query(sql, statement.parameters).first?.decode(0)
    }

    /// The roles that read every e-mail.
    private static let readers = Role.allCases.filter {
        PrivilegeTable.depth(of: .retrieve, on: .email, for: $0) == .organization
    }.map(\.rawValue)
}
