import CLibPQ

/// The settings of every session.
///
/// This program's statements, and the parsing of their results, rely on the values of these settings. A role, a database, the
/// server's configuration or the connection string may set other values, so each session applies these settings.
enum SessionSettings {
    /// Applies the settings, and reads the session's state. The statement takes one round trip, once for each connection.
    ///
    /// `default_transaction_read_only` is not changed, because managed servers and administrators use it to stop writes, for
    /// example when a disk is full. `synchronous_commit` is changed only if it is off, because with `off` a crash of PostgreSQL
    /// would lose acknowledged writes. `jit` is off, because compiling these short statements takes longer than it saves.
    static let statement = """
        SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE;
        SET DateStyle = 'ISO, YMD'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET search_path = public, pg_temp;
        SET bytea_output = 'hex'; SET standard_conforming_strings = on; SET extra_float_digits = 1; SET array_nulls = on;
        SET transform_null_equals = off; SET row_security = on; SET quote_all_identifiers = off; SET check_function_bodies = on;
        SET lock_timeout = 0; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
        SET idle_session_timeout = 0; SET jit = off;
        SELECT pg_catalog.set_config('synchronous_commit', 'on', false)
         WHERE pg_catalog.current_setting('synchronous_commit') = 'off';
        SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('session_replication_role'),
               pg_catalog.current_setting('transaction_read_only')
        """

    /// The state of a session.
    struct Report {
        /// The server process that runs the statements. Behind a pooler this process differs from the process that the protocol
        /// names.
        let backend: Int32
        /// Whether the session is read-only, because its server is a standby or a setting forbids writes.
        let isReadOnly: Bool
    }

    /// - Throws: ``PostgresError`` of kind `usage` when triggers are disabled in this session. Without triggers, foreign keys and
    ///   most guards of the database do not hold, and only a superuser can enable triggers again.
    static func report(_ result: OpaquePointer?) throws -> Report {
        func text(_ column: Int32) -> String { PQgetvalue(result, 0, column).map { String(cString: $0) } ?? "" }
        guard text(1) == "origin" else {
            throw PostgresError(
                kind: .usage,
                message: "session_replication_role is \(text(1)) for this role or database, so triggers and constraints do not "
                    + "hold. Remove the setting: ALTER ROLE … RESET session_replication_role, ALTER ROLE … IN DATABASE … RESET it, "
                    + "or ALTER DATABASE … RESET it")
        }
        return Report(backend: Int32(text(0)) ?? 0, isReadOnly: text(2) == "on")
    }
}
