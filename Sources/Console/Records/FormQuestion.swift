/// A question about a form that is not saved before the answer.
struct FormQuestion {
    let title: String
    let text: String
    /// The text of the button that answers the question.
    let button: String
    /// What exactly is confirmed. If the form has another value when it is sent again, the question is asked again.
    let subject: String

    /// The field with the subjects of the questions that were answered.
    private static let field = "confirmed"

    /// The values of the template for all questions about a form, which are asked together; nil if there are none, or after the
    /// answer.
    static func values(_ questions: [FormQuestion], _ visit: Visit) -> [String: Any]? {
        let subjects = questions.map(\.subject).joined(separator: "; ")
        guard let first = questions.first, visit.form[field] != subjects else { return nil }
        return [
            "title": questions.map(\.title).joined(separator: " "), "text": questions.map(\.text).joined(separator: " "),
            "button": questions.count == 1 ? first.button : visit.text("confirmAll"), "subjects": subjects,
        ]
    }
}
