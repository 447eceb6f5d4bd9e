import Model

extension FieldsealError {
    /// The error for a member of a body, if the member is missing or has another form.
    ///
    /// - Parameter form: What the member must be.
    static func misfit(_ name: String, _ form: String) -> FieldsealError {
        FieldsealError(.payloadDoesNotFit, "\(name) is missing or invalid. It must be \(form).")
    }
}
