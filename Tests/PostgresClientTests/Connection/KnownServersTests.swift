import Foundation
import Testing

@testable import PostgresClient

@Suite struct KnownServersTests {
    private func servers() throws -> KnownServers {
        try #require(KnownServers.of("host=a,b port=1,2 dbname=\(UUID().uuidString)"))
    }

    @Test func theServerThatTookWritesLastIsTriedFirst() throws {
        let servers = try servers()
        #expect(servers.order == [0, 1])
        #expect(servers.admit("system", 1, at: 1))
        #expect(servers.order == [1, 0])
    }

    @Test func aFormerPrimaryIsToldByItsTimeline() throws {
        let servers = try servers()
        #expect(servers.admit("system", 3, at: 0))
        #expect(servers.admit("system", 4, at: 1))
        #expect(!servers.admit("system", 3, at: 0))
        #expect(servers.order == [1, 0] && servers.newest == 4)
        #expect(servers.isFormer(3) && !servers.isFormer(4) && !servers.isFormer(nil))
    }

    @Test func timelinesOfAnotherClusterBeginAnew() throws {
        let servers = try servers()
        #expect(servers.admit("before the upgrade", 7, at: 0))
        #expect(servers.admit("after it", 1, at: 0))
        #expect(servers.newest == 1)
    }

    @Test(arguments: [
        "host=a dbname=x", "dbname=x", "host=a,b target_session_attrs=any", "host=a,b target_session_attrs=standby",
        "host=a,b,c port=1,2",
    ])
    func oneHostAndOtherTargetsAreLeftToLibpq(_ conninfo: String) { #expect(KnownServers.of(conninfo) == nil) }

    @Test func targetReadWriteExcludesReadOnlyServers() throws {
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
