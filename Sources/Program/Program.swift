import ArgumentParser
import CellCrypto
import Glibc

/// `fieldseal`: one program, a subcommand for each thing that one does with a deployment.
@main
struct Program: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "fieldseal",
        abstract: "Field-level data encryption for organizations whose records live in PostgreSQL.",
        discussion: """
            Commands work on the deployment that a settings file names: --settings, else FIELDSEAL_SETTINGS, else \
            fieldseal.yaml in FIELDSEAL_HOME or ./.fieldseal, else /etc/fieldseal/fieldseal.yaml.

            Exit codes: 0 done; 1 failed, or something was found (doctor: warnings); 2 the doctor found an error; 3 the database can't \
            be reached (doctor, verify, events verify, migrate); 64 the command line is wrong; 78 the key-encryption key is not \
            the deployment's.
            """,
        version: "0.1.0",
        subcommands: [
            Dev.self, Setup.self, Serve.self, Migrate.self, Org.self, Key.self, Kek.self, Client.self, User.self, Issuer.self,
            ApprovalCommand.self, Verify.self, Events.self, Retention.self, Backup.self, RouterCommand.self, DoctorCommand.self,
            Config.self,
        ]
    )

    static func main() async {
        CryptoLibrary.keepUntilExit()
        // A peer that hangs up is an error of that connection, not the end of the program.
        signal(SIGPIPE, SIG_IGN)
        // A core dump, or a process of the same user that reads this one's memory, would have keys.
        ProcessProtection.apply()
        await main(nil)
    }
}

/// Keeps a server alive through the signals of a closed terminal, a log's rotation and a certificate's renewal, whose default is
/// to end the process without answering what runs. SIGTERM and SIGINT end it in order.
func ignoreHangUps() {
    for number in [SIGHUP, SIGUSR1, SIGUSR2] { signal(number, SIG_IGN) }
}
