import Tenancy

/// Groups of kinds of security events, which a filter finds together.
enum EventGroup: String, CaseIterable {
    case passwords, keys, signIns, people, clients, mail

    /// The group of an event's kind; nil for kinds without a group.
    private init?(_ kind: SecurityEvent.Kind) {
        switch kind {
        case .passwordSet, .passwordReplaced, .passwordCleared, .userReset: self = .passwords
        case .keyRead, .keyKept, .keyChanged, .keyActivated, .keyPurged, .keyChangeCancelled, .keyChangeRehearsed,
            .keyEncryptionKeyReplaced, .keyRefused, .keyControlSet, .approvalRequested, .approvalGiven, .approvalRefused:
            self = .keys
        case .signedIn, .passwordConfirmed, .signedOut, .secondFactorOn, .secondFactorOff, .recoveryCodesReplaced,
            .secondFactorPolicySet, .issuerAdded, .issuerRemoved, .identityLinked:
            self = .signIns
        case .userAdded, .userDisabled, .userChanged, .userRemoved, .systemUserDisabled, .systemUserEnabled, .roleGiven, .roleTaken,
            .memberAdded, .memberRemoved:
            self = .people
        case .clientAdded, .clientDisabled, .clientKeyAdded, .clientKeyRemoved, .clientChanged, .clientRemoved, .tokenExposed,
            .tokenRevoked:
            self = .clients
        case .credentialReleased, .mailDestinationChanged, .emailRefused, .emailsRemoved: self = .mail
        default: return nil
        }
    }

    var kinds: [SecurityEvent.Kind] { SecurityEvent.Kind.allCases.filter { EventGroup($0) == self } }
}
