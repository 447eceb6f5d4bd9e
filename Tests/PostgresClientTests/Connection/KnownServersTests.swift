import Foundation
import Testing

@testable import PostgresClient

@Suite("Choosing among the servers of a connection string")
struct KnownServersTests {
    private func servers() throws -> KnownServers {
        try #require(KnownServers.of("host=a,b port=1,2 dbname=\(UUID().uuidString)"))
    }

    @Test("The server that accepted writes last is tried first")
    func order() throws {
        let servers = try servers()
        #expect(servers.order == [0, 1])
        #expect(servers.admit("system", 1, at: 1))
        #expect(servers.order == [1, 0])
    }

    @Test("A server whose timeline is older than the newest known one is a former primary")
    func formerPrimary() throws {
        let servers = try servers()
        #expect(servers.admit("system", 3, at: 0))
        #expect(servers.admit("system", 4, at: 1))
        #expect(!servers.admit("system", 3, at: 0))
        #expect(servers.order == [1, 0] && servers.newest == 4)
        #expect(servers.isFormer(3) && !servers.isFormer(4) && !servers.isFormer(nil))
    }

    @Test("The timelines of another database cluster are not compared with those of the first")
    func otherCluster() throws {
        let servers = try servers()
        #expect(servers.admit("before the upgrade", 7, at: 0))
        #expect(servers.admit("after it", 1, at: 0))
        #expect(servers.newest == 1)
    }

    @Test(
        "A string with one host, or that requests other servers than the primary, is left to libpq",
        arguments: [
            "host=a dbname=x", "dbname=x", "host=a,b target_session_attrs=any", "host=a,b target_session_attrs=standby",
            "host=a,b,c port=1,2",
        ])
    func leftToLibpq(_ conninfo: String) { #expect(KnownServers.of(conninfo) == nil) }

    @Test("A string that requests the primary excludes read-only servers, and may name a single host")
    func primaryOnly() throws {
        #expect(try #require(KnownServers.of("host=a,b")).allowsReading)
        // A single host may be a load balancer in front of several servers.
        #expect(try #require(KnownServers.of("host=a target_session_attrs=read-write")).hosts.map(\.name) == ["a"])
        #expect(try !#require(KnownServers.of("host=a,b target_session_attrs=read-write")).allowsReading)
        #expect(
            try #require(KnownServers.of("postgresql://a:1,b:2/x?target_session_attrs=primary")).hosts.map(\.name) == [
                "a:1", "b:2",
            ])
    }
}
