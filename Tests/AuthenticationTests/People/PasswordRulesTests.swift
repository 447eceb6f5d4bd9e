import Model
import Testing

@testable import Authentication

@Suite("Passwords that people choose")
struct PasswordRulesTests {
    @Test(
        "A long password that attackers don't try first is allowed",
        arguments: ["correct horse battery", "zürich-öffnet-um-7", "anna likes plums", "          x9"])
    func allowed(password: String) throws {
        try PasswordRules.check(password, of: "anna", in: "contoso")
    }

    @Test(
        "A password that is too short or that attackers try first is refused, and the error says why",
        arguments: [
            ("short", "at least 10 characters"), ("aaaaaaaaaa", "repeats or counts"), ("abcdefghij", "repeats or counts"),
            ("9876543210", "repeats or counts"), ("qwertzuiop", "on the list"), ("abababababab", "repeats or counts"),
            ("aaaaaaaaaa!1", "repeats or counts"), ("contosoanna1", "Apart from names"), ("fieldsealcontoso", "Apart from names"),
        ])
    func refused(password: String, why: String) {
        let error = #expect(throws: FieldsealError.self) { try PasswordRules.check(password, of: "anna", in: "contoso") }
        #expect(error?.code == .invalidArgument && error?.message.contains(why) == true, "\(error?.message ?? "")")
        #expect(error?.message.contains(password) == false)
    }

    @Test(
        "A name in a password is found in any case, also in parts, without accents, or with blanks and punctuation",
        arguments: [
            ("John Smithson", "johnsmithson"), ("John Smithson", "john.smithson"), ("John Smithson", "Smithson-John-1"),
            ("john.smithson", "SmithsonJohn12"), ("John Smithson", "s.m.i.t.h.s.o.n 1234"),
            ("John Smithson", "john      smithson"),
            ("Jürgen Größe", "Juergen.Groesse"), ("Jürgen Größe", "jurgengrösse"),
            ("Zoë Lefèvre Bär", "zoe lefevre bar"), ("zoe lefevre", "Zoë_Lefèvre_99"), ("Jo Li Anderson", "joli-anderson"),
            ("Ada", "ada contoso 12"),
        ])
    func namesInDisguise(name: String, password: String) {
        let error = #expect(throws: FieldsealError.self) { try PasswordRules.check(password, of: name, in: "contoso") }
        #expect(error?.message.contains("Apart from names") == true, "\(error?.message ?? "")")
    }

    @Test(
        "A password with a name is allowed if enough other characters remain",
        arguments: [
            ("John Smithson", "johnny was smithson's brother"), ("John Smithson", "john !§$%&/()="),
            ("Zoë Bär", "barbara in zoetermeer"),
            ("Al Li", "alliteration"), ("Ada", "adagio for strings"),
        ])
    func longerThanNames(name: String, password: String) throws {
        try PasswordRules.check(password, of: name, in: "contoso")
    }

    @Test("A password of nine characters is refused, also if it has more bytes, and so is one of more than a thousand")
    func length() throws {
        #expect(throws: FieldsealError.self) { try PasswordRules.check("ä1ö2ü3ß4é", of: "anna", in: "contoso") }
        try PasswordRules.check("ä1ö2ü3ß4é5", of: "anna", in: "contoso")
        #expect(throws: FieldsealError.self) {
            try PasswordRules.check((0..<400).map { "\($0)" }.joined(), of: "anna", in: "contoso")
        }
    }
}
