import Diagnostics
import Foundation
import JSON

/// The doctor's findings about certificates.
enum CertificateFindings {
    /// A certificate that expires in fewer than `warningDays` is a warning, and in fewer than `errorDays` an error.
    private static let (warningDays, errorDays) = (30, 7)

    /// Certificates that have expired or will expire soon.
    static func findings(_ certificates: [ServerCertificate], at now: Date = Date()) -> [Finding] {
        certificates.compactMap { certificate in
            let days = Int((certificate.expiresOn.timeIntervalSince(now) / 86_400).rounded(.down))
            guard days < warningDays else { return nil }
            let date = ISO8601.text(certificate.expiresOn)
            let isOver = certificate.expiresOn < now
            return Finding(
                days < errorDays ? .error : .warning, isOver ? "certificate-expired" : "certificate-expires",
                "the certificate \(certificate.file) \(isOver ? "expired" : "expires in \(days) days,") on \(date)",
                advice: "renew it; the server reads the new files by itself within seconds")
        }
    }

    /// The findings about the certificates in the settings; empty if the settings name no certificate.
    static func findings(_ settings: Settings) -> [Finding] {
        guard !settings.certificateFile.isEmpty else { return [] }
        do {
            return try findings([ServerCertificate(settings)] + ServerCertificate.ofHosts(settings).values)
        } catch {
            return [
                Finding(
                    .error, "certificate-unusable", "\(error)", advice: "correct the file, or its name under https in the settings")
            ]
        }
    }
}
