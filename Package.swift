// swift-tools-version:6.2
import PackageDescription

let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let package = Package(
    name: "fieldseal",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "fieldseal", targets: ["Program"]),
        .library(name: "CellCrypto", targets: ["CellCrypto"]),
        .library(name: "PostgresClient", targets: ["PostgresClient"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-system", from: "1.8.1"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1", traits: ["FullFoundation"]),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.1"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/swiftlang/swift-subprocess", from: "1.0.2"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
    ],
    targets: [
        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"]), .brew(["libpq"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"]), .brew(["openssl@3"])]),
        .systemLibrary(name: "CCurl", pkgConfig: "libcurl", providers: [.apt(["libcurl4-openssl-dev"]), .brew(["curl"])]),
        .target(name: "CICU", linkerSettings: [.linkedLibrary("icui18n"), .linkedLibrary("icuuc")]),
        .target(name: "CPKCS11"),
        .target(name: "CZlib", linkerSettings: [.linkedLibrary("z")]),
        .target(name: "MailFormat", dependencies: ["CICU"], swiftSettings: settings),
        .target(
            name: "MailRouter",
            dependencies: [
                "CurlClient", "MailFormat", "MetricsFormat", "RouterProtocol",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .target(name: "RouterProtocol", swiftSettings: settings),
        .target(name: "MetricsFormat", swiftSettings: settings),
        .target(name: "CMigrations"),
        .target(name: "CurlClient", dependencies: ["CCurl"], swiftSettings: settings),
        .target(name: "CellCrypto", dependencies: ["COpenSSL"], swiftSettings: settings),
        .target(name: "PostgresClient", dependencies: ["CLibPQ"], swiftSettings: settings),
        .target(
            name: "Migrations",
            dependencies: ["CMigrations", "PostgresClient", .product(name: "Crypto", package: "swift-crypto")],
            swiftSettings: settings
        ),
        .target(name: "JSON", swiftSettings: settings),
        .target(name: "Model", dependencies: ["MailFormat", "PostgresClient"], swiftSettings: settings),
        .target(
            name: "Tenancy",
            dependencies: [
                "CPKCS11", "CellCrypto", "JSON", "MetricsFormat", "Migrations", "Model", "PostgresClient",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "KeyManagement",
            dependencies: [
                "CellCrypto", "JSON", "Model", "PostgresClient", "Tenancy",
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Records",
            dependencies: [
                "CellCrypto", "JSON", "Model", "PostgresClient", "Tenancy",
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Authentication",
            dependencies: [
                "CellCrypto", "CurlClient", "JSON", "Model", "PostgresClient", "Records", "Tenancy",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "CryptoExtras", package: "swift-crypto"),
                .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "X509", package: "swift-certificates"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Organizations",
            dependencies: [
                "Authentication", "CellCrypto", "JSON", "KeyManagement", "Migrations", "Model", "PostgresClient", "Records",
                "Tenancy",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "SystemPackage", package: "swift-system"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Email",
            dependencies: [
                "CellCrypto", "CurlClient", "JSON", "Model", "PostgresClient", "Records", "RouterProtocol", "Tenancy",
                .product(name: "Crypto", package: "swift-crypto"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Diagnostics",
            dependencies: [
                "Authentication", "CellCrypto", "JSON", "KeyManagement", "MetricsFormat", "Migrations", "Model", "Organizations",
                "PostgresClient", "Records",
                "Tenancy",
            ],
            swiftSettings: settings
        ),
        .target(
            name: "WebAPI",
            dependencies: [
                "Authentication", "CZlib", "CellCrypto", "CurlClient", "Email", "JSON", "KeyManagement", "MetricsFormat", "Model",
                "PostgresClient", "Records",
                "RouterProtocol", "Tenancy",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "HummingbirdHTTP2", package: "hummingbird"),
                .product(name: "HummingbirdTLS", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),
        .target(name: "CConsole"),
        .target(
            name: "Console",
            dependencies: [
                "Authentication", "CConsole", "CellCrypto", "Diagnostics", "Email", "JSON", "KeyManagement", "MailFormat", "Model",
                "PostgresClient", "Records", "Tenancy", "WebAPI",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .executableTarget(
            name: "Program",
            dependencies: [
                "Authentication", "CellCrypto", "Console", "Diagnostics", "Email", "JSON", "KeyManagement", "MailRouter",
                "MetricsFormat", "Migrations", "Model", "Organizations", "PostgresClient", "Records", "RouterProtocol", "Tenancy",
                "WebAPI",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "Subprocess", package: "swift-subprocess"),
                .product(name: "SwiftASN1", package: "swift-asn1"),
                .product(name: "SystemPackage", package: "swift-system"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
                .product(name: "X509", package: "swift-certificates"),
                .product(name: "Yams", package: "Yams"),
            ],
            swiftSettings: settings,
            // Replaces the allocator of the C library. Event loops and connections free each other's memory all the time, which jemalloc
            // does with less waiting.
            linkerSettings: [.linkedLibrary("jemalloc", .when(platforms: [.linux]))]
        ),
        .executableTarget(
            name: "CellBenchmark", dependencies: ["CellCrypto"], path: "Benchmarks/CellBenchmark", swiftSettings: settings),
        .target(
            name: "TestSupport", dependencies: ["Migrations", "PostgresClient"], path: "Tests/TestSupport", swiftSettings: settings),
        .testTarget(name: "CellCryptoTests", dependencies: ["CellCrypto"], swiftSettings: settings),
        .testTarget(name: "PostgresClientTests", dependencies: ["PostgresClient", "TestSupport"], swiftSettings: settings),
        .testTarget(
            name: "MigrationsTests", dependencies: ["Migrations", "PostgresClient", "TestSupport"], swiftSettings: settings),
        .target(
            name: "TestOrganizations",
            dependencies: ["CellCrypto", "Migrations", "Organizations", "PostgresClient", "Tenancy", "TestSupport"],
            path: "Tests/TestOrganizations",
            swiftSettings: settings
        ),
        .testTarget(name: "JSONTests", dependencies: ["JSON"], swiftSettings: settings),
        .testTarget(
            name: "KeyManagementTests",
            dependencies: [
                "Authentication", "CellCrypto", "JSON", "KeyManagement", "Model", "Organizations", "PostgresClient", "Records",
                "Tenancy", "TestOrganizations", "TestSupport",
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ModelTests",
            dependencies: ["CellCrypto", "Model", "PostgresClient", "Tenancy", "TestOrganizations"],
            swiftSettings: settings
        ),
        .testTarget(
            name: "OrganizationsTests",
            dependencies: [
                "CellCrypto", "JSON", "Model", "Organizations", "PostgresClient", "Tenancy", "TestOrganizations", "TestSupport",
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RecordsTests", dependencies: ["JSON", "Model", "Records", "Tenancy"], swiftSettings: settings),
        .testTarget(name: "AuthenticationTests", dependencies: ["Authentication", "Model"], swiftSettings: settings),
        .testTarget(name: "EmailTests", dependencies: ["Email"], swiftSettings: settings),
        .testTarget(name: "RouterProtocolTests", dependencies: ["Model", "RouterProtocol"], swiftSettings: settings),
        .testTarget(name: "DiagnosticsTests", dependencies: ["Diagnostics"], swiftSettings: settings),
        .testTarget(name: "TenancyTests", dependencies: ["CellCrypto", "Tenancy"], swiftSettings: settings),
        .testTarget(name: "MailRouterTests", dependencies: ["MailRouter", "RouterProtocol"], swiftSettings: settings),
        .testTarget(
            name: "ConsoleTests", dependencies: ["Console", "JSON", "KeyManagement", "Model", "Tenancy"], swiftSettings: settings),
        .testTarget(name: "MailFormatTests", dependencies: ["MailFormat"], swiftSettings: settings),
        .executableTarget(
            name: "OpenCells", dependencies: ["CellCrypto", "PostgresClient"], path: "examples/OpenCells", swiftSettings: settings),
        .executableTarget(name: "MessageProbe", dependencies: ["MailFormat"], path: "Tests/MessageProbe", swiftSettings: settings),
        .testTarget(
            name: "WebAPITests",
            dependencies: [
                "Authentication", "JSON", "Model", "Records", "Tenancy", "TestSupport", "WebAPI",
            ], swiftSettings: settings),
    ],
    cLanguageStandard: .c2x
)
