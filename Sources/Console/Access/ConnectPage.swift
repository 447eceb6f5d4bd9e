import Email
import Foundation
import HTTPTypes
import JSON
import Model
import Records
import Tenancy

// Connects a mailbox on one page: provider, address, user name and password, then the test.
extension Console {
    @Sendable func connectPage(_ visit: Visit) async throws -> PageResponse {
        .page("connect", try await connectValues(visit, [:]))
    }

    /// The form for another provider, with what was typed about the mailbox.
    private func connectPage(
        to provider: String, _ password: String?, _ secrets: KeptSecrets, _ visit: Visit
    ) async throws -> PageResponse {
        let typed = visit.form.filter { ["name", "emailaddress", "username", "profile", "second"].contains($0.key) }
        // The typed secret is kept only if both providers need the same kind of secret: a password, or a refresh token.
        let isSameKind = (visit.form["oauth"] == "true") == (self.provider(provider)?["oauth"] == .bool(true))
        let kept = try isSameKind ? password.map { try secrets.sealed($0, for: "password") } : nil
        var values = try await connectValues(visit, typed.merging(["provider": provider]) { _, new in new }, kept: kept)
        values["answerAt"] = "\(visit.root)/connect?provider=\(provider)"
        return .page("connect", values)
    }

    /// A mail provider whose servers are known.
    private func provider(_ name: String?) -> JSONValue? { files.providers.first { $0["id"]?.string == name } }

    private func connectValues(
        _ visit: Visit, _ typed: [String: String], problem: String? = nil, errors: [String: String] = [:], kept: String? = nil,
        taken: [String: String]? = nil
    )
        async throws -> [String: Any]
    {
        for entity in [EntityDefinition.emailServerProfile, .queue, .mailbox] { try Self.require(.create, entity, visit) }
        let chosen = typed["provider"] ?? visit.query("provider")
        let preset = provider(chosen)
        func value(_ name: String, _ preset: String = "") -> String { typed[name] ?? preset }
        func number(_ name: String) -> String { if case .integer(let number)? = preset?[name] { "\(number)" } else { "" } }
        let isChosen: Bool = chosen != nil || !typed.isEmpty
        let isPOP: Bool = value("protocol", preset?["protocol"]?.string ?? "imap") == "pop3"
        let isOAuth: Bool = value("oauth", preset?["oauth"] == .bool(true) ? "true" : "") == "true"
        let incoming: String = value("incomingserver", preset?["incoming"]?.string ?? "")
        let outgoing: String = value("outgoingserver", preset?["outgoing"]?.string ?? "")
        var values: [String: Any] = [
            "title": visit.text("connectTitle"), "lead": visit.text("connectLead"), "isChosen": isChosen,
            "providers": files.providers.map { entry -> [String: Any] in
                let id = entry["id"]?.string ?? ""
                return [
                    "id": id, "name": entry["name"]?.string ?? visit.text("provider:\(id)"), "current": id == chosen,
                    "href": "\(visit.root)/connect?provider=\(id)#form",
                ]
            },
            "once": FormRecordIDs.text(), "provider": chosen ?? "",
            "note": orFalse(chosen.flatMap { visit.texts.optional("providerNote:\($0)") }),
            "profiles": try await lookupNames(.emailServerProfile, nil, visit), "profile": value("profile"),
            "incomingserver": incoming,
            "incomingport": value("incomingport", number("incomingPort")),
            "outgoingserver": outgoing,
            "outgoingport": value("outgoingport", number("outgoingPort")), "name": value("name"),
            "emailaddress": value("emailaddress"),
            "username": value("username"), "isPOP": isPOP, "isOAuth": isOAuth,
            "kept": orFalse(kept), "isExisting": chosen == "existing",
            // The confirmation that the address may get a second mailbox stays as long as the typed address is the same.
            "second": orFalse(taken == nil && !typed.isEmpty && typed["second"] == typed["emailaddress"] ? typed["second"] : nil),
        ]
        values.merge(Self.errorValues(errors, isOAuth: isOAuth, visit)) { _, new in new }
        values["problem"] = problem
        values["taken"] = orFalse(taken)
        let lacksApplication: Bool = isOAuth && !incoming.isEmpty && !mail.hasApplication(for: incoming)
        values["lacksApplication"] = orFalse(lacksApplication ? visit.text("lacksApplication", ["server": incoming]) : nil)
        return values
    }

    /// The fields in the order of the page, with the keys of their labels and the attribute that each one sets.
    private static let connectFields = [
        ("name", "displayName", "name"), ("emailaddress", "emailAddress", "emailaddress"), ("username", "mailUser", "username"),
        ("password", "password", "password"), ("profile", "emailserverprofileOne", "emailserverprofile"),
        ("incomingserver", "incomingServer", "incomingserverlocation"), ("incomingport", "incomingPort", "incomingportnumber"),
        ("outgoingserver", "outgoingServer", "outgoingserverlocation"), ("outgoingport", "outgoingPort", "outgoingportnumber"),
    ]

    /// The values of the template about errors: a summary with links to the fields, and each error at its field.
    private static func errorValues(_ errors: [String: String], isOAuth: Bool, _ visit: Visit) -> [String: Any] {
        let wrong = connectFields.filter { errors[$0.0] != nil }
        var values: [String: Any] = [
            "hasErrors": !errors.isEmpty, "errorsTitle": visit.texts.count("errorsTitle", errors.count),
            "errors": wrong.map { name, key, _ -> [String: Any] in
                let label = visit.text(name == "password" && isOAuth ? "refreshToken" : key)
                let text = errors[name] ?? ""
                // If an error begins with the field's label, `text` has only the rest, because the template shows the label before
                // it.
                let isNamed = text.hasPrefix("\(label) ")
                return [
                    "name": name, "label": label, "isNamed": isNamed,
                    "text": isNamed ? String(text.dropFirst(label.count + 1)) : text,
                ]
            },
        ]
        for (name, _, _) in connectFields {
            values["\(name)Error"] = orFalse(errors[name].map { ["text": $0, "isFirst": name == wrong.first?.0] as [String: Any] })
        }
        return values
    }

    @Sendable func connect(_ visit: Visit) async throws -> PageResponse {
        let session = try visit.session()
        let form = visit.form
        func text(_ name: String) -> String { (form[name] ?? "").trimmingCharacters(in: .whitespaces) }
        let secrets = try KeptSecrets(
            deployment.kek, organization: session.organization.id, form: "connect", record: nil, token: visit.token ?? "")
        let typed = form["password"].flatMap { $0.isEmpty ? nil : $0 }
        let sealed = form[KeptSecrets.field("password")]
        let password = typed ?? sealed.flatMap { secrets.opened($0, for: "password") }
        if let next = form["to"], provider(next) != nil { return try await connectPage(to: next, password, secrets, visit) }
        var errors: [String: String] = [:]
        if text("name").isEmpty { errors["name"] = visit.text("isNeeded") }
        if !TypedRecord.isAddress(text("emailaddress")) { errors["emailaddress"] = visit.text("notAnAddress") }
        if password == nil { errors["password"] = visit.text(sealed == nil ? "isNeeded" : "typeAgain") }
        let usesExisting = text("provider") == "existing"
        if usesExisting, text("profile").isEmpty { errors["profile"] = visit.text("isNeeded") }
        if !usesExisting { errors.merge(Self.serverErrors(visit, text)) { own, _ in own } }
        if usesExisting, errors["profile"] == nil { errors["profile"] = try await profileError(text("profile"), visit) }
        func again(_ problem: String?, _ errors: [String: String], _ status: HTTPResponse.Status) async throws -> PageResponse {
            let kept = try password.map { try secrets.sealed($0, for: "password") }
            return .page(
                "connect", try await connectValues(visit, form, problem: problem, errors: errors, kept: kept), status: status)
        }
        guard errors.isEmpty, let password else { return try await again(nil, errors, .badRequest) }
        let recordIDs = try FormRecordIDs(visit, deployment.kek)
        if let mailbox = try await mailbox(of: recordIDs?.id("queue"), session) { return Self.connectedReply(mailbox, visit) }
        if form["second"] != text("emailaddress"), let taken = try await taken(text("emailaddress"), visit) {
            // The same form may have been sent before, and have created the mailbox.
            if let mailbox = try await mailbox(of: recordIDs?.id("queue"), session) { return Self.connectedReply(mailbox, visit) }
            let kept = try secrets.sealed(password, for: "password")
            return .page("connect", try await connectValues(visit, form, kept: kept, taken: taken), status: .conflict)
        }
        do {
            return Self.connectedReply(try await connected(visit, session, password, recordIDs, text), visit)
        } catch {
            // The same form may have been sent twice at the same moment.
            if let error = error as? FieldsealError, error.code == .duplicateRecord,
                let mailbox = try await mailbox(of: recordIDs?.id("queue"), session)
            {
                return Self.connectedReply(mailbox, visit)
            }
            guard let (message, status) = Self.refusal(error) else { throw error }
            let told = visit.texts.told(message)
            let attribute = (error as? FieldsealError)?.attribute
            guard let field = Self.connectFields.first(where: { $0.2 == attribute })?.0 else {
                return try await again(told, [:], status)
            }
            return try await again(nil, [field: told], status)
        }
    }

    /// The errors in the typed servers and ports.
    private static func serverErrors(_ visit: Visit, _ text: (String) -> String) -> [String: String] {
        var errors: [String: String] = [:]
        for direction in ["incoming", "outgoing"] {
            let (server, port) = (text("\(direction)server"), text("\(direction)port"))
            do throws(FieldsealError) {
                if server.isEmpty { throw FieldsealError(.invalidArgument, visit.text("isNeeded")) }
                guard let attribute = EntityDefinition.emailServerProfile["\(direction)serverlocation"] else { continue }
                try MailSettingRule.check(server, attribute)
            } catch {
                errors["\(direction)server"] = visit.texts.told(error.message)
            }
            if !port.isEmpty, Int64(port).map({ (1...65_535).contains($0) }) != true {
                errors["\(direction)port"] = visit.text("numberBetween", ["from": "1", "to": visit.texts.number(65_535)])
            }
        }
        return errors
    }

    /// Why no server profile has a typed name; nil if a profile has it.
    private func profileError(_ name: String, _ visit: Visit) async throws -> String? {
        guard let attribute = EntityDefinition.mailbox["emailserverprofile"] else { return nil }
        do {
            _ = try await lookedUp(name, attribute, visit)
            return nil
        } catch let error as FieldsealError {
            return visit.texts.told(error.message)
        }
    }

    private static func connectedReply(_ mailbox: UUID, _ visit: Visit) -> PageResponse {
        .redirect("\(visit.root)/records/mailboxes/\(mailbox.text)?done=testing")
    }

    /// The mailbox of a queue; nil if there is no such queue.
    func mailbox(of queue: UUID?, _ session: Session) async throws -> UUID? {
        guard let queue else { return nil }
        do {
            let page = try await session.retrieve(.queue, .id(queue), [.init(.column(.init("defaultmailbox")))])
            return if case .id(let mailbox)? = try page.records.first?.value(of: "defaultmailbox") { mailbox } else { nil }
        } catch let error as FieldsealError where error.code == .objectDoesNotExist {
            return nil
        }
    }

    /// The values of the template about the oldest mailbox with an address, or else about the oldest queue with it; nil if no
    /// mailbox and no queue has it.
    private func taken(_ address: String, _ visit: Visit) async throws -> [String: String]? {
        var query = RecordQuery()
        query.outputs = [.init(.column(.init("name")))]
        query.filter = .compare(.init("emailaddress"), .equal, .text(address))
        query.order = [.init(.column(.init("createdon")))]
        query.pageSize = 1
        // A queue whose mailbox was deleted still has the address.
        for entity in [EntityDefinition.mailbox, .queue] {
            guard let found = try await visit.session().list(entity, query).records.first else { continue }
            let name = try Self.text("name", of: found)
            let isQueue = entity.logicalName == EntityDefinition.queue.logicalName
            return [
                "text": visit.text(isQueue ? "addressTakenByQueue" : "addressTaken", ["address": address]), "address": address,
                "why": visit.text(isQueue ? "addressTakenByQueueWhy" : "addressTakenWhy"),
                "button": visit.text(isQueue ? "connectSecondQueue" : "connectSecond", ["address": address]),
                "name": name.isEmpty ? visit.text("unnamed") : name,
                "href": "\(visit.root)/records/\(entity.entitySetName)/\(found.id.text)",
            ]
        }
        return nil
    }

    /// Creates the needed records, sets the mailbox's password and requests the test. If the last step is refused, the earlier
    /// steps are undone.
    private func connected(
        _ visit: Visit, _ session: Session, _ password: String, _ recordIDs: FormRecordIDs?, _ text: (String) -> String
    ) async throws -> UUID {
        let profile: UUID
        var writes: [RecordWrite] = []
        if text("provider") == "existing", let attribute = EntityDefinition.mailbox["emailserverprofile"] {
            profile = try await lookedUp(text("profile"), attribute, visit).id
        } else {
            let typed = TypedProfile(members: profileMembers(text))
            if let equal = try await typed.equal(session) {
                profile = equal
            } else {
                profile = try recordIDs?.id("profile") ?? UUID()
                writes.append(.create(.emailServerProfile, id: profile, try await typed.named(session)))
            }
        }
        let isNewProfile = !writes.isEmpty
        let queue = try recordIDs?.id("queue") ?? UUID()
        writes.append(
            .create(
                .queue, id: queue,
                [
                    .init("name", .string(text("name"))), .init("emailaddress", .string(text("emailaddress"))),
                    .init("incomingemailfilteringmethod", 0),
                ]))
        _ = try await session.write(writes)
        do {
            guard let mailbox = try await mailbox(of: queue, session) else { throw FieldsealError.noSuchRecord(.mailbox) }
            let username = text("username").isEmpty ? text("emailaddress") : text("username")
            let members: [JSONValue.Member] = [
                .init("emailserverprofile@odata.bind", .string("/emailserverprofiles(\(profile.text))")),
                .init("username", .string(username)),
                .init("password", .string(password)), .init("allowemailconnectortousecredentials", true),
            ]
            let actions = MailboxAction.approve.members + MailboxAction.test.members
            try await session.write(.upsert(.mailbox, .id(mailbox), members + actions, .mustExist))
            return mailbox
        } catch {
            // No record may be left that would block the next attempt.
            _ = try? await session.write(.delete(.queue, .id(queue)))
            if isNewProfile { _ = try? await session.write(.delete(.emailServerProfile, .id(profile))) }
            throw error
        }
    }

    private func profileMembers(_ text: (String) -> String) -> [JSONValue.Member] {
        func port(_ name: String) -> JSONValue { Int64(text(name)).map { .integer($0) } ?? .null }
        let provider = provider(text("provider"))
        let name = provider?["name"]?.string.map { "\($0), \(text("emailaddress"))" } ?? text("incomingserver")
        let authentication: JSONValue = text("oauth") == "true" ? 4 : 0
        return [
            .init("name", .string(String(name.prefix(100)))), .init("servertype", text("protocol") == "pop3" ? 1 : 4),
            .init("incomingserverlocation", .string(text("incomingserver"))), .init("incomingportnumber", port("incomingport")),
            .init("incomingusessl", true), .init("outgoingserverlocation", .string(text("outgoingserver"))),
            .init("outgoingportnumber", port("outgoingport")), .init("outgoingusessl", true),
            .init("incomingcredentialretrieval", 0), .init("outgoingcredentialretrieval", 0),
            .init("incomingauthenticationprotocol", authentication), .init("outgoingauthenticationprotocol", authentication),
            .init("usesamesettingsforoutgoingconnections", true),
        ].filter { $0.value != .null }
    }
}
