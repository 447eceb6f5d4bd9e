import CLibPQ

/// The settings that every session runs under.
///
/// A role, a database, the server's configuration or the connection string may set any of them to another value. The statements
/// of this program and the reading of their results rely on these.
enum SessionSettings {
    /// Sets them, and reads what the server says of the session. One round trip, once for each connection.
    ///
    /// `default_transaction_read_only` is left alone: managed servers and administrators switch writes off with it, for example
    /// when a disk is full.
    static let statement = """
        SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE;
        SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET search_path = public, pg_temp;
        SET bytea_output = 'hex'; SET standard_conforming_strings = on; SET extra_float_digits = 1; SET array_nulls = on;
        SET transform_null_equals = off; SET row_security = on; SET quote_all_identifiers = off; SET check_function_bodies = on;
        SET lock_timeout = 0; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
        SET idle_session_timeout = 0;
        SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('session_replication_role'),
               pg_catalog.current_setting('transaction_read_only')
        """

    /// What the server says of a session.
    struct Report {
        /// The server process that runs the statements. Behind a pooler it is another one than the protocol names.
        let backend: Int32
        /// Whether the session can't write: its server is a standby, or a setting says so.
        let isReadOnly: Bool
    }

    /// - Throws: ``PostgresError`` of kind `usage` when triggers are switched off in this session: then no constraint of the
    ///   database holds, and only a superuser could switch them on again.
    static func report(_ result: OpaquePointer?) throws -> Report {
        func text(_ column: Int32) -> String { PQgetvalue(result, 0, column).map { String(cString: $0) } ?? "" }
        guard text(1) == "origin" else {
            throw PostgresError(
                kind: .usage,
                message: "session_replication_role is \(text(1)) for this role or database, so triggers and constraints do not "
                    + "hold. Remove the setting: ALTER ROLE … RESET session_replication_role, or ALTER DATABASE … RESET it")
        }
        return Report(backend: Int32(text(0)) ?? 0, isReadOnly: text(2) == "on")
    }
}
