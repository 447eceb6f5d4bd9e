import Model
import Testing

@testable import Authentication

@Suite("Passwords that people choose")
struct PasswordRulesTests {
    @Test(
        "Long passwords that are not guessed first are allowed",
        arguments: ["correct horse battery", "zürich-öffnet-um-7", "anna likes plums", "          x9"])
    func allowed(password: String) throws {
        try PasswordRules.check(password, of: "anna", in: "contoso")
    }

    @Test(
        "Passwords that are guessed first are refused",
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
        "Names are found without case, accents, blanks and punctuation, and part by part",
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
        "A name within a longer text is allowed",
        arguments: [
            ("John Smithson", "johnny was smithson's brother"), ("John Smithson", "john !§$%&/()="),
            ("Zoë Bär", "barbara in zoetermeer"),
            ("Al Li", "alliteration"), ("Ada", "adagio for strings"),
        ])
    func longerThanNames(name: String, password: String) throws {
        try PasswordRules.check(password, of: name, in: "contoso")
    }

    @Test("The length is of characters, and the limit of bytes")
    func length() throws {
        #expect(throws: FieldsealError.self) { try PasswordRules.check("ä1ö2ü3ß4é", of: "anna", in: "contoso") }
        try PasswordRules.check("ä1ö2ü3ß4é5", of: "anna", in: "contoso")
        #expect(throws: FieldsealError.self) {
            try PasswordRules.check((0..<400).map { "\($0)" }.joined(), of: "anna", in: "contoso")
        }
    }
}
