// Carries the console's pages inside the program, so that one file is all that has to be installed. `make lint` compares
// this list with the folder.
#include "CConsole.h"

static const unsigned char templates_access_mustache[] = {
#embed "Templates/access.mustache"
};
static const unsigned char templates_account_mustache[] = {
#embed "Templates/account.mustache"
};
static const unsigned char templates_audit_mustache[] = {
#embed "Templates/audit.mustache"
};
static const unsigned char templates_encryption_mustache[] = {
#embed "Templates/encryption.mustache"
};
static const unsigned char templates_form_mustache[] = {
#embed "Templates/form.mustache"
};
static const unsigned char templates_fresh_mustache[] = {
#embed "Templates/fresh.mustache"
};
static const unsigned char templates_key_mustache[] = {
#embed "Templates/key.mustache"
};
static const unsigned char templates_layout_mustache[] = {
#embed "Templates/layout.mustache"
};
static const unsigned char templates_list_mustache[] = {
#embed "Templates/list.mustache"
};
static const unsigned char templates_message_mustache[] = {
#embed "Templates/message.mustache"
};
static const unsigned char templates_overview_mustache[] = {
#embed "Templates/overview.mustache"
};
static const unsigned char templates_sheet_mustache[] = {
#embed "Templates/sheet.mustache"
};
static const unsigned char templates_sign_in_mustache[] = {
#embed "Templates/sign-in.mustache"
};
static const unsigned char templates_signed_in_mustache[] = {
#embed "Templates/signed-in.mustache"
};
static const unsigned char templates_sheet_content_mustache[] = {
#embed "Templates/sheet-content.mustache"
};
static const unsigned char templates_sheet_file_mustache[] = {
#embed "Templates/sheet-file.mustache"
};
static const unsigned char templates_record_mustache[] = {
#embed "Templates/record.mustache"
};
static const unsigned char messages_de_json[] = {
#embed "Messages/de.json"
};
static const unsigned char messages_en_json[] = {
#embed "Messages/en.json"
};
static const unsigned char console_css[] = {
#embed "console.css"
};
static const unsigned char console_js[] = {
#embed "console.js"
};

static const struct console_file files[] = {
    {"Templates/access.mustache", templates_access_mustache, sizeof templates_access_mustache},
    {"Templates/account.mustache", templates_account_mustache, sizeof templates_account_mustache},
    {"Templates/audit.mustache", templates_audit_mustache, sizeof templates_audit_mustache},
    {"Templates/encryption.mustache", templates_encryption_mustache, sizeof templates_encryption_mustache},
    {"Templates/form.mustache", templates_form_mustache, sizeof templates_form_mustache},
    {"Templates/fresh.mustache", templates_fresh_mustache, sizeof templates_fresh_mustache},
    {"Templates/key.mustache", templates_key_mustache, sizeof templates_key_mustache},
    {"Templates/layout.mustache", templates_layout_mustache, sizeof templates_layout_mustache},
    {"Templates/list.mustache", templates_list_mustache, sizeof templates_list_mustache},
    {"Templates/message.mustache", templates_message_mustache, sizeof templates_message_mustache},
    {"Templates/overview.mustache", templates_overview_mustache, sizeof templates_overview_mustache},
    {"Templates/sheet.mustache", templates_sheet_mustache, sizeof templates_sheet_mustache},
    {"Templates/sign-in.mustache", templates_sign_in_mustache, sizeof templates_sign_in_mustache},
    {"Templates/signed-in.mustache", templates_signed_in_mustache, sizeof templates_signed_in_mustache},
    {"Templates/sheet-content.mustache", templates_sheet_content_mustache, sizeof templates_sheet_content_mustache},
    {"Templates/sheet-file.mustache", templates_sheet_file_mustache, sizeof templates_sheet_file_mustache},
    {"Templates/record.mustache", templates_record_mustache, sizeof templates_record_mustache},
    {"Messages/de.json", messages_de_json, sizeof messages_de_json},
    {"Messages/en.json", messages_en_json, sizeof messages_en_json},
    {"console.css", console_css, sizeof console_css},
    {"console.js", console_js, sizeof console_js},
};

const struct console_file *console_files(size_t *count) {
    *count = sizeof files / sizeof files[0];
    return files;
}
