// Carries the console's pages inside the program, so that one file is all that has to be installed. `make lint` compares
// this list with the folder.
#include "CConsole.h"

static const unsigned char templates_access_mustache[] = {
#embed "Templates/access.mustache"
};
static const unsigned char templates_account_mustache[] = {
#embed "Templates/account.mustache"
};
static const unsigned char templates_alert_mustache[] = {
#embed "Templates/alert.mustache"
};
static const unsigned char templates_approvals_mustache[] = {
#embed "Templates/approvals.mustache"
};
static const unsigned char templates_audit_mustache[] = {
#embed "Templates/audit.mustache"
};
static const unsigned char templates_badge_mustache[] = {
#embed "Templates/badge.mustache"
};
static const unsigned char templates_chip_mustache[] = {
#embed "Templates/chip.mustache"
};
static const unsigned char templates_chooser_mustache[] = {
#embed "Templates/chooser.mustache"
};
static const unsigned char templates_client_new_mustache[] = {
#embed "Templates/client-new.mustache"
};
static const unsigned char templates_client_mustache[] = {
#embed "Templates/client.mustache"
};
static const unsigned char templates_compose_mustache[] = {
#embed "Templates/compose.mustache"
};
static const unsigned char templates_confirm_mustache[] = {
#embed "Templates/confirm.mustache"
};
static const unsigned char templates_connect_mustache[] = {
#embed "Templates/connect.mustache"
};
static const unsigned char templates_email_mustache[] = {
#embed "Templates/email.mustache"
};
static const unsigned char templates_encryption_mustache[] = {
#embed "Templates/encryption.mustache"
};
static const unsigned char templates_event_line_mustache[] = {
#embed "Templates/event-line.mustache"
};
static const unsigned char templates_events_mustache[] = {
#embed "Templates/events.mustache"
};
static const unsigned char templates_field_mustache[] = {
#embed "Templates/field.mustache"
};
static const unsigned char templates_form_mustache[] = {
#embed "Templates/form.mustache"
};
static const unsigned char templates_fresh_mustache[] = {
#embed "Templates/fresh.mustache"
};
static const unsigned char templates_invitation_mustache[] = {
#embed "Templates/invitation.mustache"
};
static const unsigned char templates_issuers_mustache[] = {
#embed "Templates/issuers.mustache"
};
static const unsigned char templates_key_change_mustache[] = {
#embed "Templates/key-change.mustache"
};
static const unsigned char templates_key_mustache[] = {
#embed "Templates/key.mustache"
};
static const unsigned char templates_kept_form_mustache[] = {
#embed "Templates/kept-form.mustache"
};
static const unsigned char templates_kept_offer_mustache[] = {
#embed "Templates/kept-offer.mustache"
};
static const unsigned char templates_kept_other_mustache[] = {
#embed "Templates/kept-other.mustache"
};
static const unsigned char templates_layout_mustache[] = {
#embed "Templates/layout.mustache"
};
static const unsigned char templates_list_mustache[] = {
#embed "Templates/list.mustache"
};
static const unsigned char templates_mailbox_question_mustache[] = {
#embed "Templates/mailbox-question.mustache"
};
static const unsigned char templates_mark_mustache[] = {
#embed "Templates/mark.mustache"
};
static const unsigned char templates_message_mustache[] = {
#embed "Templates/message.mustache"
};
static const unsigned char templates_moment_mustache[] = {
#embed "Templates/moment.mustache"
};
static const unsigned char templates_overview_mustache[] = {
#embed "Templates/overview.mustache"
};
static const unsigned char templates_own_views_mustache[] = {
#embed "Templates/own-views.mustache"
};
static const unsigned char templates_person_new_mustache[] = {
#embed "Templates/person-new.mustache"
};
static const unsigned char templates_person_mustache[] = {
#embed "Templates/person.mustache"
};
static const unsigned char templates_retention_mustache[] = {
#embed "Templates/retention.mustache"
};
static const unsigned char templates_roles_mustache[] = {
#embed "Templates/roles.mustache"
};
static const unsigned char templates_sheet_content_mustache[] = {
#embed "Templates/sheet-content.mustache"
};
static const unsigned char templates_sheet_file_mustache[] = {
#embed "Templates/sheet-file.mustache"
};
static const unsigned char templates_sheet_mustache[] = {
#embed "Templates/sheet.mustache"
};
static const unsigned char templates_shortcuts_mustache[] = {
#embed "Templates/shortcuts.mustache"
};
static const unsigned char templates_sign_in_rules_mustache[] = {
#embed "Templates/sign-in-rules.mustache"
};
static const unsigned char templates_sign_in_mustache[] = {
#embed "Templates/sign-in.mustache"
};
static const unsigned char templates_signed_in_mustache[] = {
#embed "Templates/signed-in.mustache"
};
static const unsigned char templates_time_mustache[] = {
#embed "Templates/time.mustache"
};
static const unsigned char console_css[] = {
#embed "console.css"
};
static const unsigned char console_js[] = {
#embed "console.js"
};
static const unsigned char favicon_svg[] = {
#embed "favicon.svg"
};
static const unsigned char providers_json[] = {
#embed "providers.json"
};

static const struct console_file files[] = {
    {"Templates/access.mustache", templates_access_mustache, sizeof templates_access_mustache},
    {"Templates/account.mustache", templates_account_mustache, sizeof templates_account_mustache},
    {"Templates/alert.mustache", templates_alert_mustache, sizeof templates_alert_mustache},
    {"Templates/approvals.mustache", templates_approvals_mustache, sizeof templates_approvals_mustache},
    {"Templates/audit.mustache", templates_audit_mustache, sizeof templates_audit_mustache},
    {"Templates/badge.mustache", templates_badge_mustache, sizeof templates_badge_mustache},
    {"Templates/chip.mustache", templates_chip_mustache, sizeof templates_chip_mustache},
    {"Templates/chooser.mustache", templates_chooser_mustache, sizeof templates_chooser_mustache},
    {"Templates/client-new.mustache", templates_client_new_mustache, sizeof templates_client_new_mustache},
    {"Templates/client.mustache", templates_client_mustache, sizeof templates_client_mustache},
    {"Templates/compose.mustache", templates_compose_mustache, sizeof templates_compose_mustache},
    {"Templates/confirm.mustache", templates_confirm_mustache, sizeof templates_confirm_mustache},
    {"Templates/connect.mustache", templates_connect_mustache, sizeof templates_connect_mustache},
    {"Templates/email.mustache", templates_email_mustache, sizeof templates_email_mustache},
    {"Templates/encryption.mustache", templates_encryption_mustache, sizeof templates_encryption_mustache},
    {"Templates/event-line.mustache", templates_event_line_mustache, sizeof templates_event_line_mustache},
    {"Templates/events.mustache", templates_events_mustache, sizeof templates_events_mustache},
    {"Templates/field.mustache", templates_field_mustache, sizeof templates_field_mustache},
    {"Templates/form.mustache", templates_form_mustache, sizeof templates_form_mustache},
    {"Templates/fresh.mustache", templates_fresh_mustache, sizeof templates_fresh_mustache},
    {"Templates/invitation.mustache", templates_invitation_mustache, sizeof templates_invitation_mustache},
    {"Templates/issuers.mustache", templates_issuers_mustache, sizeof templates_issuers_mustache},
    {"Templates/key-change.mustache", templates_key_change_mustache, sizeof templates_key_change_mustache},
    {"Templates/key.mustache", templates_key_mustache, sizeof templates_key_mustache},
    {"Templates/kept-form.mustache", templates_kept_form_mustache, sizeof templates_kept_form_mustache},
    {"Templates/kept-offer.mustache", templates_kept_offer_mustache, sizeof templates_kept_offer_mustache},
    {"Templates/kept-other.mustache", templates_kept_other_mustache, sizeof templates_kept_other_mustache},
    {"Templates/layout.mustache", templates_layout_mustache, sizeof templates_layout_mustache},
    {"Templates/list.mustache", templates_list_mustache, sizeof templates_list_mustache},
    {"Templates/mailbox-question.mustache", templates_mailbox_question_mustache, sizeof templates_mailbox_question_mustache},
    {"Templates/mark.mustache", templates_mark_mustache, sizeof templates_mark_mustache},
    {"Templates/message.mustache", templates_message_mustache, sizeof templates_message_mustache},
    {"Templates/moment.mustache", templates_moment_mustache, sizeof templates_moment_mustache},
    {"Templates/overview.mustache", templates_overview_mustache, sizeof templates_overview_mustache},
    {"Templates/own-views.mustache", templates_own_views_mustache, sizeof templates_own_views_mustache},
    {"Templates/person-new.mustache", templates_person_new_mustache, sizeof templates_person_new_mustache},
    {"Templates/person.mustache", templates_person_mustache, sizeof templates_person_mustache},
    {"Templates/retention.mustache", templates_retention_mustache, sizeof templates_retention_mustache},
    {"Templates/roles.mustache", templates_roles_mustache, sizeof templates_roles_mustache},
    {"Templates/sheet-content.mustache", templates_sheet_content_mustache, sizeof templates_sheet_content_mustache},
    {"Templates/sheet-file.mustache", templates_sheet_file_mustache, sizeof templates_sheet_file_mustache},
    {"Templates/sheet.mustache", templates_sheet_mustache, sizeof templates_sheet_mustache},
    {"Templates/shortcuts.mustache", templates_shortcuts_mustache, sizeof templates_shortcuts_mustache},
    {"Templates/sign-in-rules.mustache", templates_sign_in_rules_mustache, sizeof templates_sign_in_rules_mustache},
    {"Templates/sign-in.mustache", templates_sign_in_mustache, sizeof templates_sign_in_mustache},
    {"Templates/signed-in.mustache", templates_signed_in_mustache, sizeof templates_signed_in_mustache},
    {"Templates/time.mustache", templates_time_mustache, sizeof templates_time_mustache},
    {"console.css", console_css, sizeof console_css},
    {"console.js", console_js, sizeof console_js},
    {"favicon.svg", favicon_svg, sizeof favicon_svg},
    {"providers.json", providers_json, sizeof providers_json},
};

const struct console_file *console_files(size_t *count) {
    *count = sizeof files / sizeof files[0];
    return files;
}
