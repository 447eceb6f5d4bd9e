import JSON
import PostgresClient

extension EventReading {
    /// Verifies that archives are one chain, from an organization's first event to the first event in `security_event`.
    ///
    /// - Returns: The problems in the order of the events.
    package func problems(ofArchives archives: [EventArchiveFile.Summary]) async throws -> [String] {
        var problems: [String] = []
        var last: EventArchiveFile.Summary?
        for archive in archives.sorted(by: { $0.first < $1.first }) {
            guard archive.content == "security events", archive.organizationID == organization.id.text else {
                problems.append(
                    "an archive holds \(archive.content) of \(archive.organization), not security events of \(organization.name)")
                continue
            }
            if archive.previousHash != last?.hash {
                problems.append("\(archive.first): the archive before this event is missing, or is of another chain")
            }
            last = archive
        }
        let position = try await deployment.pool.withConnection {
            connection -> Result<EventArchivePosition?, EventChainProblem> in
            do {
                return .success(try EventArchivePosition.read(organization, under: deployment.kek, on: connection))
            } catch let problem as EventChainProblem {
                return .failure(problem)
            }
        }
        switch position {
        case .failure(let problem): problems.append(problem.description)
        case .success(let position) where position?.head != last?.hash:
            problems.append("\(position?.lastID ?? 0): the archive that ends with this event is missing, or is of another chain")
        case .success: break
        }
        return problems
    }
}
