import Model

extension FieldsealError {
    /// The refusal of a member of a body that is missing, or of another form.
    ///
    /// - Parameter form: What the member must be.
    static func misfit(_ name: String, _ form: String) -> FieldsealError {
        FieldsealError(.payloadDoesNotFit, "\(name) is missing or invalid. It must be \(form).")
    }
}
