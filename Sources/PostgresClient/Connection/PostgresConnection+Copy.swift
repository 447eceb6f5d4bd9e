import CLibPQ

// COPY in both directions.
extension PostgresConnection {
    /// Runs a `COPY … TO STDOUT` and passes each row's bytes to `body`.
    ///
    /// If `body` throws, the statement is cancelled and the error rethrown. An open transaction has then failed.
    ///
    /// - Returns: The number of rows.
    @discardableResult
    public func copyOut(_ sql: String, _ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Int {
        try Task.checkCancellation()
        let handle = try open()
        try copyStarted(PQexec(handle, sql), PGRES_COPY_OUT)
        var failure: (any Error)?
        var data: UnsafeMutablePointer<CChar>?
        // Bounded: after an error the loop only reads the rest of the copy, which is being cancelled.
        while true {
            let length = PQgetCopyData(handle, &data, 0)
            guard length > 0 else { break }
            defer { PQfreemem(data) }
            if failure != nil { continue }
            do {
                try body(UnsafeRawBufferPointer(start: data, count: Int(length)))
            } catch {
                failure = error
                canceller.cancel(canceller.turn)
            }
        }
        let result = Swift.Result { try copyFinished() }
        if let failure { throw failure }
        return try result.get()
    }

    /// Runs a `COPY … FROM STDIN` and sends what `body` writes.
    ///
    /// If `body` throws, the copy is cancelled and the error rethrown. An open transaction has then failed.
    ///
    /// - Returns: The number of rows that the server accepted.
    @discardableResult
    public func copyIn(_ sql: String, _ body: (_ write: (UnsafeRawBufferPointer) throws -> Void) throws -> Void) throws -> Int {
        try Task.checkCancellation()
        let handle = try open()
        try copyStarted(PQexec(handle, sql), PGRES_COPY_IN)
        do {
            try body { bytes in
                let data = bytes.bindMemory(to: CChar.self)
                guard data.count > 0 else { return }
                guard PQputCopyData(handle, data.baseAddress, Int32(data.count)) == 1 else {
                    throw PostgresError(connection: handle)
                }
            }
        } catch {
            _ = PQputCopyEnd(handle, "cancelled by the client")
            _ = try? copyFinished()
            throw error
        }
        guard PQputCopyEnd(handle, nil) == 1 else { throw PostgresError(connection: handle) }
        return try copyFinished()
    }

    private func copyStarted(_ result: OpaquePointer?, _ expected: ExecStatusType) throws {
        defer { PQclear(result) }
        guard PQresultStatus(result) == expected else { throw error(of: result) }
    }

    private func copyFinished() throws -> Int {
        var rows = 0
        var failure: PostgresError?
        while let result = PQgetResult(handle) {
            if PQresultStatus(result) == PGRES_COMMAND_OK {
                rows = Int(String(cString: PQcmdTuples(result))) ?? 0
            } else if failure == nil {
                failure = error(of: result)
            }
            PQclear(result)
            if PQstatus(handle) == CONNECTION_BAD { break }
        }
        if let failure { throw failure }
        return rows
    }
}
