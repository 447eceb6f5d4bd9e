/// The meaning of charset labels in mail: the WHATWG Encoding Standard's if it has the label, else ICU's.
enum CharsetLabels {
    /// How text with a label is converted.
    enum Meaning: Equatable {
        /// The label has no meaning for bytes above 0x7F.
        case undeclared
        case utf8
        case utf16
        /// ICU's converters. If there are several converters, the one that understands most of the text is used.
        case converters([String])
        /// The system's converter, because ICU has none.
        case system(String)
    }

    /// - Parameter label: The text in the message: `charset=`, or the first part of an encoded word.
    static func meaning(of label: String) -> Meaning {
        let key = key(of: label)
        if let known = known(key) { return known }
        // Some labels have a prefix, such as x-windows-1252, x-cp1251 and x-iso-8859-1.
        if key.hasPrefix("x"), let known = known(String(key.dropFirst())) { return known }
        // A label may contain other parameters within its quotes, as in "iso-8859-1; format=flowed", or the parameter's name, as in
        // "charset=utf-8".
        let pieces = label.prefix(pieceLimit).split { ";, =".contains($0) }.map { Self.key(of: String($0)) }
        if let piece = pieces.first == "charset" ? pieces.dropFirst().first : pieces.first, piece != key, let known = known(piece) {
            return known
        }
        return .converters([label, key, key.hasPrefix("x") ? String(key.dropFirst()) : key])
    }

    /// How many characters of a label are searched for a known label.
    private static let pieceLimit = 100

    /// The letters and digits of a label.
    private static func key(of label: String) -> String {
        String(label.lowercased().unicodeScalars.filter { ("a"..."z").contains($0) || ("0"..."9").contains($0) })
    }

    /// Whether a label is in these tables. ICU knows more labels.
    static func isListed(_ label: String) -> Bool {
        if case .converters(let names) = meaning(of: label) { return names.first != label }
        return true
    }

    private static func known(_ key: String) -> Meaning? {
        if undeclared.contains(key) { return .undeclared }
        if key.hasPrefix("utf8") || utf8.contains(key) { return .utf8 }
        if key == "utf16" || key == "unicode" || key == "ucs2" || key == "iso10646ucs2" { return .utf16 }
        return system[key].map { .system($0) } ?? names[key].map { .converters($0) }
    }

    private static let utf8: Set<String> = [
        "unicode11utf8", "unicode20utf8", "cp65001", "65001", "windows65001", "iso10646utf8", "u8",
    ]

    private static let system = [
        "iso885916": "ISO-8859-16", "iso8859162001": "ISO-8859-16", "isoir226": "ISO-8859-16", "latin10": "ISO-8859-16",
        "l10": "ISO-8859-16",
        "johab": "JOHAB", "cp1361": "JOHAB", "ms1361": "JOHAB", "windows1361": "JOHAB", "ksc56011992johab": "JOHAB",
        "viscii": "VISCII", "viscii111": "VISCII", "csviscii": "VISCII", "tcvn": "TCVN", "tcvn5712": "TCVN", "tcvn57121": "TCVN",
        "ptcp154": "PT154", "pt154": "PT154", "cp154": "PT154", "csptcp154": "PT154", "cyrillicasian": "PT154",
        "kz1048": "RK1048", "rk1048": "RK1048", "strk10482002": "RK1048", "cskz1048": "RK1048", "koi8t": "KOI8-T",
        "isoir111": "ISO-IR-111", "ecmacyrillic": "ISO-IR-111", "koi8e": "ISO-IR-111", "mik": "MIK", "bulgarianmik": "MIK",
        "eucjisx0213": "EUC-JISX0213", "eucjis2004": "EUC-JISX0213", "shiftjisx0213": "SHIFT_JISX0213",
        "shiftjis2004": "SHIFT_JISX0213", "sjisx0213": "SHIFT_JISX0213", "sjis2004": "SHIFT_JISX0213",
        "cp1125": "CP1125", "1125": "CP1125", "ruscii": "CP1125", "macis": "MACIS", "maciceland": "MACIS", "macicelandic": "MACIS",
        "decmcs": "DEC-MCS", "dec": "DEC-MCS", "csdecmcs": "DEC-MCS", "t618bit": "T.61-8BIT", "t61": "T.61-8BIT",
        "iso6937": "ISO_6937", "isoir156": "ISO_6937", "winsami2": "WIN-SAMI-2", "ws2": "WIN-SAMI-2", "cp774": "CP774",
        "georgianps": "GEORGIAN-PS", "georgianacademy": "GEORGIAN-ACADEMY", "armscii8": "ARMSCII-8", "tscii": "TSCII",
    ]

    private static let undeclared: Set<String> = [
        "", "ascii", "usascii", "ansix341968", "ansix341986", "iso646us", "us", "ascii7bit", "unknown", "unknown8bit", "8bit",
        "7bit",
        "binary", "default", "defaultcharset", "charset", "none", "null", "xunknown", "xuserdefined", "ascii8bit", "ia5", "ansix34",
        "iso8859", "8859",
    ]

    /// ISO-2022-JP, also with the half-width kana of 7 bits after SO, and of 8 bits (JIS X 0201).
    static let japanese = ["ISO-2022-JP-2", "ISO-2022-JP", "JIS7", "JIS8"]

    private static let names: [String: [String]] = {
        var names: [String: [String]] = [:]
        for (converters, labels) in table {
            for label in labels.split(separator: " ") { names[String(label)] = converters }
        }
        return names
    }()

    private static let table: [(converters: [String], labels: String)] = [
        (
            ["windows-1252"],
            "iso88591 latin1 l1 cp819 ibm819 cp1252 windows1252 ansi iso885911987 isoir100 csisolatin1 88591 iso1 westerniso western msansi win1252 1252 isolatin1 latin iso88591windows"
        ),
        (["windows-1250"], "cp1250 windows1250 win1250 1250 msee"),
        (["iso-8859-2"], "iso88592 latin2 l2 isoir101 csisolatin2 88592 isolatin2"),
        (["windows-1251"], "cp1251 windows1251 win1251 1251 mscyrl"),
        (["windows-1253"], "cp1253 windows1253 win1253 1253 msgreek"),
        (["windows-1254"], "iso88599 latin5 l5 cp1254 windows1254 isoir148 csisolatin5 win1254 1254 msturk isolatin5"),
        (["windows-1255"], "cp1255 windows1255 win1255 1255 mshebr"),
        (["windows-1256"], "cp1256 windows1256 win1256 1256 msarab"),
        (["windows-1257"], "cp1257 windows1257 win1257 1257 winbaltrim baltic"),
        (["windows-1258"], "cp1258 windows1258 win1258 1258"),
        (["iso-8859-13"], "iso885913 latin7 l7 isolatin7 isoir179"),
        (["iso-8859-15"], "iso885915 latin9 l9 isolatin9 latin0 csisolatin9 8859151998 iso8859151998 885915"),
        (
            ["windows-874-2000"],
            "tis620 iso885911 cp874 dos874 windows874 874 thai isoir166 tis6200 tis62025291 tis62025330 tis6202533"
        ),
        (
            // Only the second converter knows the euro sign of windows-936, 0x80.
            ["gb18030", "windows-936-2000"],
            "gb2312 gbk euccn eucgb2312cn cngb csgb2312 gb231280 chinese cp936 ms936 windows936 936 gb18030 gb180302000 gb180302005 gb180302022 cp20936 gb isoir58 csiso58gb231280"
        ),
        (["HZ"], "hzgb2312 hz hzgb"),
        (
            ["windows-949-2000"],
            "euckr ksc56011987 ksc56011989 ksc5601 ksc56011992 uhc cp949 ms949 windows949 korean cseuckr csksc56011987 isoir149 ks ksx1001 mscp949 cp20949 949"
        ),
        (
            ["windows-950-2000", "ibm-1375_P100-2008"],
            "big5 big5tw cnbig5 csbig5 xxbig5 big5eten cp950 ms950 windows950 950 bigfive chineseeten eten big52003 big5solaris"
        ),
        (["ibm-1375_P100-2008", "windows-950-2000"], "big5hkscs hkscs big5uao"),
        (["euc-tw"], "euctw chinesecns cp20000"),
        (
            ["ibm-943_P15A-2003"],
            "shiftjis sjis shiftjisms mskanji windows31j cswindows31j cp932 ms932 windows932 csshiftjis cp943c sjiswin sjisopen sjismac macjapanese 932"
        ),
        (["euc-jp-2007"], "eucjp eucjpms eucjpwin cp51932 cseucpkdfmtjapanese ujis eucjpopen"),
        (
            japanese,
            "iso2022jp iso2022jp1 iso2022jp2 iso2022jp3 iso2022jpms cp50220 cp50221 cp50222 csiso2022jp jis"
        ),
        (["ISO-2022-KR"], "iso2022kr csiso2022kr"),
        (["KOI8-U"], "koi8u koi8ru"),
        (["KOI8-R"], "koi8r koi8 koi cskoi8r"),
        (["macintosh"], "macroman macintosh mac csmacintosh"),
        (["x-mac-greek"], "macgreek cp10006"),
        (["x-mac-turkish"], "macturkish cp10081"),
        (["x-mac-centraleurroman"], "maccentraleurroman maccentraleurope macce maccenteuro maclatin2 cp10029"),
        (["x-mac-cyrillic"], "maccyrillic macukrainian macuk msmaccyrillic cp10007"),
        (["iso-8859-8"], "iso88598 iso88598i iso88598e hebrew logical visual csiso88598e csiso88598i"),
        (["iso-8859-6"], "iso88596 iso88596i iso88596e csiso88596i csiso88596e arabic"),
        (["UTF-7"], "utf7 unicode11utf7 unicode20utf7 csunicode11utf7 imap cp65000 65000"),
        (["UTF-16LE"], "utf16le ucs2le"),
        (["UTF-16BE"], "utf16be ucs2be"),
        (["UTF-32LE", "UTF-32BE"], "utf32 utf32le utf32be ucs4 iso10646ucs4"),
        (["ibm-850_P100-1995"], "cp850 ibm850 850 dos850"),
        (["ibm-437_P100-1995"], "cp437 ibm437 437 oem437"),
        (["cp866"], "cp866 ibm866 866 dos866 csibm866 cp866u"),
        (["cp852"], "cp852 ibm852 852 dos852 csibm852"),
        (["cp858"], "cp858 ibm858 ibm00858 858 csibm858 cspc858multilingual"),
        (["DOS-720"], "cp720 dos720"),
    ]
}
