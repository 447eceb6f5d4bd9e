import Foundation
import Model
package import Tenancy

/// Decides who may send as whom. Users may send as themselves, and as users whose settings allow it (`issendasallowed`). The owner
/// of a queue, and members of the team that owns it, may send as the queue. If the queue has the address of a user or of an older
/// queue, they must also be allowed to send as that user or queue. System Administrators may send as every user and queue. No caller
/// may send as a disabled user or as an inactive queue.
///
/// The rule is checked when an e-mail is submitted, and again before it is handed to a router. Then it also refuses e-mails of a
/// submitter who was disabled since, and of one who is no System Administrator any more, if only that role allowed the sender.
package enum SenderRule {
    /// SQL that joins an e-mail `e` with its sender `s`: the number of senders, the sender's record and type, and its address in
    /// the e-mail. Also joins the tables from which ``address`` reads the sender's current address.
    package static func joins(in organization: Organization) -> String {
        """
        LEFT JOIN LATERAL (
            SELECT count(*) AS count, (array_agg(p.partyid))[1] AS partyid, min(p.partyobjecttypecode) AS type,
                   min(p.addressused) AS address
              FROM \(organization.qualified("activityparty")) AS p
             WHERE p.activityid = e.activityid AND p.participationtypemask = \(Participation.sender.sql)) AS s ON true
        \(records(in: organization, type: "s.type"))
        """
    }

    /// SQL that joins the systemuser `su`, the settings `us` and the queue `sq` to which a sender `s` refers.
    static func records(in organization: Organization, type: String) -> String {
        """
        LEFT JOIN \(organization.qualified("systemuser")) AS su ON \(type) = 'systemuser' AND su.systemuserid = s.partyid
        LEFT JOIN \(organization.qualified("usersettings")) AS us ON us.systemuserid = su.systemuserid
        LEFT JOIN \(organization.qualified("queue")) AS sq ON \(type) = 'queue' AND sq.queueid = s.partyid
        """
    }

    /// The SQL expression for the sender's current address.
    static let address = "coalesce(su.internalemailaddress, sq.emailaddress)"

    /// The SQL condition that is true if the sender is a queue that is not active.
    static let isInactiveQueue = "sq.statecode <> \(RecordState.active.sql)"

    /// The SQL condition that is true if a systemuser may send as the sender.
    ///
    /// - Parameter user: An SQL expression for the id of the systemuser.
    static func allows(_ user: String, in organization: Organization) -> String {
        """
        coalesce(su.systemuserid = \(user) OR us.issendasallowed
            OR \(owns("sq", user, in: organization))
               AND NOT EXISTS (
                    SELECT FROM \(organization.qualified("systemuser")) AS x
                      LEFT JOIN \(organization.qualified("usersettings")) AS xs ON xs.systemuserid = x.systemuserid
                     WHERE lower(x.internalemailaddress) IN (lower(sq.emailaddress), \(plainAddress)) AND x.systemuserid <> \(user)
                       AND xs.issendasallowed IS NOT TRUE)
               AND NOT EXISTS (
                    SELECT FROM \(organization.qualified("queue")) AS y
                     WHERE lower(y.emailaddress) IN (lower(sq.emailaddress), \(plainAddress)) AND y.queueid <> sq.queueid
                       AND y.createdon <= sq.createdon AND \(owns("y", user, in: organization)) IS NOT TRUE), false)
        """
    }

    /// The SQL condition that is true if a systemuser, or a team of theirs, owns a queue.
    private static func owns(_ queue: String, _ user: String, in organization: Organization) -> String {
        """
        (\(queue).ownerid = \(user) OR \(queue).ownerid IN (
            SELECT t.teamid FROM \(organization.qualified("teammembership")) AS t WHERE t.systemuserid = \(user)))
        """
    }

    /// The SQL expression for a queue's address without what makes another spelling of one mailbox: quotes and escapes of the local
    /// part (RFC 5322 section 3.2.4), spaces, invisible characters, compatibility forms, and a dot at the end of the domain.
    private static let plainAddress =
        #"lower(regexp_replace(normalize(sq.emailaddress, NFKC), '["\\\s\u00AD\u200B-\u200F\u2060\uFEFF]|\.$', '', 'g'))"#

    /// The SQL condition that is true if a systemuser has one of the roles now, by a client or person that is enabled, as a record, or
    /// by a team.
    private static func has(_ roles: [Role], _ user: String, in organization: Organization) -> String {
        """
        EXISTS (SELECT FROM \(organization.qualified("role")) AS r
                 WHERE r.name IN (\(roles.map { "'\($0.rawValue)'" }.joined(separator: ", ")))
                   AND (EXISTS (SELECT FROM \(organization.userRoles) AS h WHERE h.systemuserid = \(user) AND h.roleid = r.roleid)
                        OR EXISTS (SELECT FROM \(organization.qualified("teamroles")) AS h
                                     JOIN \(organization.qualified("teammembership")) AS t ON t.teamid = h.teamid
                                    WHERE t.systemuserid = \(user) AND h.roleid = r.roleid)))
        """
    }

    /// The SQL expression for the reason why an e-mail `e` of the mailbox `m` can't be handed to a router; NULL if there is no
    /// reason.
    package static func problem(in organization: Organization) -> String {
        """
        CASE WHEN NOT coalesce(e.directioncode, false) OR s.count <> 1
                  THEN 'It is not outgoing, or it does not have exactly one sender.'
             WHEN s.partyid IS DISTINCT FROM m.regardingobjectid THEN 'Its mailbox is not its sender''s.'
             WHEN su.isdisabled THEN 'Its sender is a disabled user (systemuser.isdisabled). Enable the user, and send it again.'
             WHEN \(isInactiveQueue) THEN 'Its sender is an inactive queue (queue.statecode). Activate the queue, and send it again.'
             WHEN \(address) IS NULL OR lower(\(address)) <> lower(coalesce(s.address, ''))
                  THEN 'Its From address is not its sender''s address. Send it again.'
             WHEN EXISTS (SELECT FROM \(organization.qualified("systemuser")) AS b WHERE b.systemuserid = e.submitter AND b.isdisabled)
                  OR NOT \(has([.systemAdministrator, .basicUser], "e.submitter", in: organization))
                  THEN 'The user who submitted it was disabled, or may not send e-mails any more. Another user may send it again.'
             WHEN NOT (\(allows("e.submitter", in: organization))
                       OR e.submitter_is_administrator AND \(has([.systemAdministrator], "e.submitter", in: organization)))
                  THEN 'The user who submitted it may not send as its sender (usersettings.issendasallowed, or the queue''s owner). Send it again.'
        END
        """
    }
}
