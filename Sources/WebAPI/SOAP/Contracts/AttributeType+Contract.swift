import Model

extension AttributeType {
    /// A description of the values that attributes of this type accept in a request, in the terms of the contracts. It is for an
    /// error text.
    ///
    /// - Returns: Nil if attributes of this type take the value. The value's range or text is checked when the value is written.
    func expectation(unmetBy value: ContractValue) -> String? {
        switch (self, value) {
        case (_, .null): nil
        case (.lookup, .reference), (.owner, .reference): nil
        case (.lookup, _), (.owner, _): "an EntityReference"
        case (.boolean, .bool): nil
        case (.boolean, _): "a boolean"
        case (.picklist, .option), (.state, .option), (.status, .option): nil
        case (.picklist, .integer), (.state, .integer), (.status, .integer): nil
        case (.picklist, _), (.state, _), (.status, _): "an OptionSetValue"
        case (.integer, .integer), (.bigInt, .integer): nil
        case (.integer, _): "an int"
        case (.bigInt, _): "a long"
        case (.decimal, .integer), (.decimal, .number): nil
        case (.decimal, _): "a decimal"
        case (.dateTime, .date), (.dateTime, .text): nil
        case (.dateTime, _): "a dateTime"
        case (.uniqueIdentifier, .id), (.uniqueIdentifier, .text): nil
        case (.uniqueIdentifier, _): "a guid"
        case (.image, .bytes), (.image, .text): nil
        case (.image, _): "base64Binary"
        case (.string, .text), (.string, .date), (.string, .id), (.string, .bytes): nil
        case (.memo, .text), (.memo, .date), (.memo, .id), (.memo, .bytes): nil
        case (.entityName, .text), (.entityName, .id): nil
        case (.string, _), (.memo, _), (.entityName, _): "a string"
        }
    }
}
