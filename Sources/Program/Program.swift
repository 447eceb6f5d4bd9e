import ArgumentParser
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

            Exit codes: 0 done; 1 failed, or something was found; 2 the doctor found an error; 3 the database can't be reached \
            (doctor, verify, events verify, migrate); 64 the command line is wrong.
            """,
        version: "0.1.0",
        subcommands: [
            Dev.self, Serve.self, Migrate.self, Org.self, Key.self, Kek.self, Client.self, User.self, Issuer.self, Verify.self,
            Events.self, RouterCommand.self, DoctorCommand.self, Config.self,
        ]
    )

    static func main() async {
        // A peer that hangs up is an error of that connection, not the end of the program.
        signal(SIGPIPE, SIG_IGN)
        // A core dump would hold keys.
        var none = rlimit(rlim_cur: 0, rlim_max: 0)
        setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &none)
        await main(nil)
    }
}
