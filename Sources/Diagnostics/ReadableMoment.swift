/// SQL that writes a moment for a finding.
enum ReadableMoment {
    /// The moment in UTC. PostgreSQL's own text for a moment that is infinite, or outside of the years 1 to 9999, because `to_char`
    /// returns null or leaves out a part for such a moment.
    ///
    /// - Parameters:
    ///   - moment: An SQL expression of the type `timestamptz`.
    ///   - format: A format for `to_char`.
    static func text(_ moment: String, as format: String = "YYYY-MM-DD HH24:MI") -> String {
        """
        CASE WHEN \(moment) >= '0001-01-01 00:00+00' AND \(moment) < '9999-12-31 00:00+00'
             THEN to_char(\(moment) AT TIME ZONE 'UTC', '\(format)') ELSE (\(moment))::text END
        """
    }
}
