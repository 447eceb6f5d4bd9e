package import Foundation
import JSON
import Model
import PostgresClient
import Records
package import Tenancy

extension Session {
    /// The addresses to which e-mails went, in the order of the e-mails, without Cc and Bcc. An e-mail without such addresses is
    /// left out.
    ///
    /// - Parameter emails: E-mails that the caller may read. This is not checked again.
    package func recipients(ofReadable emails: [UUID]) async throws -> [UUID: [String]] {
        let sql = """
            SELECT activityid, addressused FROM \(organization.qualified("activityparty"))
             WHERE activityid = ANY ($1) AND participationtypemask = \(Participation.to.sql) AND addressused <> ''
             ORDER BY activityid, activitypartyid
            """
        return try await deployment.pool.withConnection { connection in
            try connection.query(sql, [.uuids(emails)]).reduce(into: [:]) { lists, row in
                lists[try row.decode("activityid"), default: []].append(try row.decode("addressused", as: String.self))
            }
        }
    }
}
