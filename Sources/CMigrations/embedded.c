// Carries the migrations inside the program, so that one file is all that has to be installed. A test compares this list
// with the folder.
#include "CMigrations.h"

static const unsigned char bootstrap[] = {
#embed "../../migrations/bootstrap.sql"
};
static const unsigned char recovery[] = {
#embed "../../migrations/recovery.sql"
};
static const unsigned char organization[] = {
#embed "../../migrations/organization.sql"
};
static const unsigned char config_0001[] = {
#embed "../../migrations/config/0001_cells.sql"
};
static const unsigned char config_0002[] = {
#embed "../../migrations/config/0002_deployment.sql"
};
static const unsigned char config_0003[] = {
#embed "../../migrations/config/0003_inspection.sql"
};
static const unsigned char config_0004[] = {
#embed "../../migrations/config/0004_sessions.sql"
};
static const unsigned char config_0005[] = {
#embed "../../migrations/config/0005_attribute_status.sql"
};
static const unsigned char config_0006[] = {
#embed "../../migrations/config/0006_chain_and_version.sql"
};
static const unsigned char config_0007[] = {
#embed "../../migrations/config/0007_console.sql"
};
static const unsigned char config_0007_down[] = {
#embed "../../migrations/config/0007_console.down.sql"
};
static const unsigned char config_0008[] = {
#embed "../../migrations/config/0008_issuers.sql"
};
static const unsigned char config_0008_down[] = {
#embed "../../migrations/config/0008_issuers.down.sql"
};
static const unsigned char config_0009[] = {
#embed "../../migrations/config/0009_attested_state.sql"
};
static const unsigned char config_0010[] = {
#embed "../../migrations/config/0010_limits.sql"
};
static const unsigned char config_0010_down[] = {
#embed "../../migrations/config/0010_limits.down.sql"
};
static const unsigned char config_0011[] = {
#embed "../../migrations/config/0011_event_archive.sql"
};
static const unsigned char config_0011_down[] = {
#embed "../../migrations/config/0011_event_archive.down.sql"
};
static const unsigned char config_0012[] = {
#embed "../../migrations/config/0012_client_keys.sql"
};
static const unsigned char config_0012_down[] = {
#embed "../../migrations/config/0012_client_keys.down.sql"
};
static const unsigned char config_0013[] = {
#embed "../../migrations/config/0013_what_the_service_may.sql"
};
static const unsigned char config_0013_down[] = {
#embed "../../migrations/config/0013_what_the_service_may.down.sql"
};
static const unsigned char config_0014[] = {
#embed "../../migrations/config/0014_organizations_that_sleep.sql"
};
static const unsigned char config_0014_down[] = {
#embed "../../migrations/config/0014_organizations_that_sleep.down.sql"
};
static const unsigned char config_0015[] = {
#embed "../../migrations/config/0015_kek_rotation.sql"
};
static const unsigned char config_0015_down[] = {
#embed "../../migrations/config/0015_kek_rotation.down.sql"
};
static const unsigned char config_0016[] = {
#embed "../../migrations/config/0016_life_of_organizations.sql"
};
static const unsigned char config_0016_down[] = {
#embed "../../migrations/config/0016_life_of_organizations.down.sql"
};
static const unsigned char config_0017[] = {
#embed "../../migrations/config/0017_first_passwords.sql"
};
static const unsigned char config_0017_down[] = {
#embed "../../migrations/config/0017_first_passwords.down.sql"
};
static const unsigned char config_0018[] = {
#embed "../../migrations/config/0018_organization_places.sql"
};
static const unsigned char config_0018_down[] = {
#embed "../../migrations/config/0018_organization_places.down.sql"
};
static const unsigned char config_0019[] = {
#embed "../../migrations/config/0019_password_derivation.sql"
};
static const unsigned char config_0019_down[] = {
#embed "../../migrations/config/0019_password_derivation.down.sql"
};
static const unsigned char config_0020[] = {
#embed "../../migrations/config/0020_compatible_migrations.sql"
};
static const unsigned char config_0020_down[] = {
#embed "../../migrations/config/0020_compatible_migrations.down.sql"
};
static const unsigned char config_0021[] = {
#embed "../../migrations/config/0021_stored_views.sql"
};
static const unsigned char config_0021_down[] = {
#embed "../../migrations/config/0021_stored_views.down.sql"
};
static const unsigned char config_0022[] = {
#embed "../../migrations/config/0022_key_control.sql"
};
static const unsigned char config_0022_down[] = {
#embed "../../migrations/config/0022_key_control.down.sql"
};
static const unsigned char config_0023[] = {
#embed "../../migrations/config/0023_client_certificates.sql"
};
static const unsigned char config_0023_down[] = {
#embed "../../migrations/config/0023_client_certificates.down.sql"
};
static const unsigned char config_0024[] = {
#embed "../../migrations/config/0024_event_shipment.sql"
};
static const unsigned char config_0024_down[] = {
#embed "../../migrations/config/0024_event_shipment.down.sql"
};
static const unsigned char config_0025[] = {
#embed "../../migrations/config/0025_organization_moves.sql"
};
static const unsigned char config_0025_down[] = {
#embed "../../migrations/config/0025_organization_moves.down.sql"
};
static const unsigned char config_0026[] = {
#embed "../../migrations/config/0026_refused_tokens.sql"
};
static const unsigned char config_0026_down[] = {
#embed "../../migrations/config/0026_refused_tokens.down.sql"
};
static const unsigned char config_0027[] = {
#embed "../../migrations/config/0027_copies.sql"
};
static const unsigned char config_0027_down[] = {
#embed "../../migrations/config/0027_copies.down.sql"
};
static const unsigned char config_0028[] = {
#embed "../../migrations/config/0028_comments.sql"
};
static const unsigned char config_0028_down[] = {
#embed "../../migrations/config/0028_comments.down.sql"
};
static const unsigned char config_0029[] = {
#embed "../../migrations/config/0029_refused_organizations.sql"
};
static const unsigned char config_0029_down[] = {
#embed "../../migrations/config/0029_refused_organizations.down.sql"
};
static const unsigned char config_0030[] = {
#embed "../../migrations/config/0030_invitations.sql"
};
static const unsigned char config_0030_down[] = {
#embed "../../migrations/config/0030_invitations.down.sql"
};
static const unsigned char config_0031[] = {
#embed "../../migrations/config/0031_sealed_audit.sql"
};
static const unsigned char config_0031_down[] = {
#embed "../../migrations/config/0031_sealed_audit.down.sql"
};
static const unsigned char config_0032[] = {
#embed "../../migrations/config/0032_lookups.sql"
};
static const unsigned char config_0032_down[] = {
#embed "../../migrations/config/0032_lookups.down.sql"
};
static const unsigned char config_0033[] = {
#embed "../../migrations/config/0033_audit_sealing.sql"
};
static const unsigned char config_0033_down[] = {
#embed "../../migrations/config/0033_audit_sealing.down.sql"
};
static const unsigned char config_0034[] = {
#embed "../../migrations/config/0034_trigger_functions.sql"
};
static const unsigned char config_0034_down[] = {
#embed "../../migrations/config/0034_trigger_functions.down.sql"
};
static const unsigned char config_0035[] = {
#embed "../../migrations/config/0035_key_change_progress.sql"
};
static const unsigned char config_0035_down[] = {
#embed "../../migrations/config/0035_key_change_progress.down.sql"
};
static const unsigned char org_0001[] = {
#embed "../../migrations/org/0001_entities.sql"
};
static const unsigned char org_0002[] = {
#embed "../../migrations/org/0002_generations.sql"
};
static const unsigned char org_0003[] = {
#embed "../../migrations/org/0003_access.sql"
};
static const unsigned char org_0004[] = {
#embed "../../migrations/org/0004_event_chain.sql"
};
static const unsigned char org_0005[] = {
#embed "../../migrations/org/0005_audit.sql"
};
static const unsigned char org_0005_down[] = {
#embed "../../migrations/org/0005_audit.down.sql"
};
static const unsigned char org_0006[] = {
#embed "../../migrations/org/0006_email.sql"
};
static const unsigned char org_0006_down[] = {
#embed "../../migrations/org/0006_email.down.sql"
};
static const unsigned char org_0007[] = {
#embed "../../migrations/org/0007_email_settings.sql"
};
static const unsigned char org_0007_down[] = {
#embed "../../migrations/org/0007_email_settings.down.sql"
};
static const unsigned char org_0008[] = {
#embed "../../migrations/org/0008_key_goes_forward.sql"
};
static const unsigned char org_0008_down[] = {
#embed "../../migrations/org/0008_key_goes_forward.down.sql"
};
static const unsigned char org_0009[] = {
#embed "../../migrations/org/0009_mail_destinations.sql"
};
static const unsigned char org_0009_down[] = {
#embed "../../migrations/org/0009_mail_destinations.down.sql"
};
static const unsigned char org_0010[] = {
#embed "../../migrations/org/0010_evidence.sql"
};
static const unsigned char org_0010_down[] = {
#embed "../../migrations/org/0010_evidence.down.sql"
};
static const unsigned char org_0011[] = {
#embed "../../migrations/org/0011_generation_places.sql"
};
static const unsigned char org_0011_down[] = {
#embed "../../migrations/org/0011_generation_places.down.sql"
};
static const unsigned char org_0012[] = {
#embed "../../migrations/org/0012_mail.sql"
};
static const unsigned char org_0012_down[] = {
#embed "../../migrations/org/0012_mail.down.sql"
};
static const unsigned char org_0013[] = {
#embed "../../migrations/org/0013_waiting_routers.sql"
};
static const unsigned char org_0013_down[] = {
#embed "../../migrations/org/0013_waiting_routers.down.sql"
};
static const unsigned char org_0014[] = {
#embed "../../migrations/org/0014_callers_and_queries.sql"
};
static const unsigned char org_0014_down[] = {
#embed "../../migrations/org/0014_callers_and_queries.down.sql"
};
static const unsigned char org_0015[] = {
#embed "../../migrations/org/0015_reference_columns.sql"
};
static const unsigned char org_0015_down[] = {
#embed "../../migrations/org/0015_reference_columns.down.sql"
};
static const unsigned char org_0016[] = {
#embed "../../migrations/org/0016_console.sql"
};
static const unsigned char org_0016_down[] = {
#embed "../../migrations/org/0016_console.down.sql"
};
static const unsigned char org_0017[] = {
#embed "../../migrations/org/0017_what_sql_may.sql"
};
static const unsigned char org_0017_down[] = {
#embed "../../migrations/org/0017_what_sql_may.down.sql"
};
static const unsigned char org_0018[] = {
#embed "../../migrations/org/0018_application_ids.sql"
};
static const unsigned char org_0018_down[] = {
#embed "../../migrations/org/0018_application_ids.down.sql"
};
static const unsigned char org_0019[] = {
#embed "../../migrations/org/0019_roles.sql"
};
static const unsigned char org_0019_down[] = {
#embed "../../migrations/org/0019_roles.down.sql"
};
static const unsigned char org_0020[] = {
#embed "../../migrations/org/0020_mail_accounts.sql"
};
static const unsigned char org_0020_down[] = {
#embed "../../migrations/org/0020_mail_accounts.down.sql"
};
static const unsigned char org_0021[] = {
#embed "../../migrations/org/0021_sorted_lists.sql"
};
static const unsigned char org_0021_down[] = {
#embed "../../migrations/org/0021_sorted_lists.down.sql"
};
static const unsigned char org_0022[] = {
#embed "../../migrations/org/0022_content_ids.sql"
};
static const unsigned char org_0022_down[] = {
#embed "../../migrations/org/0022_content_ids.down.sql"
};
static const unsigned char org_0023[] = {
#embed "../../migrations/org/0023_comments.sql"
};
static const unsigned char org_0023_down[] = {
#embed "../../migrations/org/0023_comments.down.sql"
};
static const unsigned char org_0024[] = {
#embed "../../migrations/org/0024_callers_and_types.sql"
};
static const unsigned char org_0024_down[] = {
#embed "../../migrations/org/0024_callers_and_types.down.sql"
};
static const unsigned char org_0025[] = {
#embed "../../migrations/org/0025_sealed_audit.sql"
};
static const unsigned char org_0025_down[] = {
#embed "../../migrations/org/0025_sealed_audit.down.sql"
};
static const unsigned char org_0026[] = {
#embed "../../migrations/org/0026_lookups.sql"
};
static const unsigned char org_0026_down[] = {
#embed "../../migrations/org/0026_lookups.down.sql"
};
static const unsigned char org_0027[] = {
#embed "../../migrations/org/0027_mailbox_belonging.sql"
};
static const unsigned char org_0027_down[] = {
#embed "../../migrations/org/0027_mailbox_belonging.down.sql"
};
static const unsigned char org_0028[] = {
#embed "../../migrations/org/0028_event_order.sql"
};
static const unsigned char org_0028_down[] = {
#embed "../../migrations/org/0028_event_order.down.sql"
};
static const unsigned char org_0029[] = {
#embed "../../migrations/org/0029_event_times.sql"
};
static const unsigned char org_0029_down[] = {
#embed "../../migrations/org/0029_event_times.down.sql"
};
static const unsigned char org_0030[] = {
#embed "../../migrations/org/0030_one_index.sql"
};
static const unsigned char org_0030_down[] = {
#embed "../../migrations/org/0030_one_index.down.sql"
};
static const unsigned char org_0031[] = {
#embed "../../migrations/org/0031_bounds.sql"
};
static const unsigned char org_0031_down[] = {
#embed "../../migrations/org/0031_bounds.down.sql"
};
static const unsigned char org_0032[] = {
#embed "../../migrations/org/0032_answers.sql"
};
static const unsigned char org_0032_down[] = {
#embed "../../migrations/org/0032_answers.down.sql"
};
static const unsigned char org_0033[] = {
#embed "../../migrations/org/0033_trigger_functions.sql"
};
static const unsigned char org_0033_down[] = {
#embed "../../migrations/org/0033_trigger_functions.down.sql"
};

static const struct embedded_file files[] = {
    {"bootstrap.sql", bootstrap, sizeof bootstrap},
    {"recovery.sql", recovery, sizeof recovery},
    {"organization.sql", organization, sizeof organization},
    {"config/0001_cells.sql", config_0001, sizeof config_0001},
    {"config/0002_deployment.sql", config_0002, sizeof config_0002},
    {"config/0003_inspection.sql", config_0003, sizeof config_0003},
    {"config/0004_sessions.sql", config_0004, sizeof config_0004},
    {"config/0005_attribute_status.sql", config_0005, sizeof config_0005},
    {"config/0006_chain_and_version.sql", config_0006, sizeof config_0006},
    {"config/0007_console.sql", config_0007, sizeof config_0007},
    {"config/0007_console.down.sql", config_0007_down, sizeof config_0007_down},
    {"config/0008_issuers.sql", config_0008, sizeof config_0008},
    {"config/0008_issuers.down.sql", config_0008_down, sizeof config_0008_down},
    {"config/0009_attested_state.sql", config_0009, sizeof config_0009},
    {"config/0010_limits.sql", config_0010, sizeof config_0010},
    {"config/0010_limits.down.sql", config_0010_down, sizeof config_0010_down},
    {"config/0011_event_archive.sql", config_0011, sizeof config_0011},
    {"config/0011_event_archive.down.sql", config_0011_down, sizeof config_0011_down},
    {"config/0012_client_keys.sql", config_0012, sizeof config_0012},
    {"config/0012_client_keys.down.sql", config_0012_down, sizeof config_0012_down},
    {"config/0013_what_the_service_may.sql", config_0013, sizeof config_0013},
    {"config/0013_what_the_service_may.down.sql", config_0013_down, sizeof config_0013_down},
    {"config/0014_organizations_that_sleep.sql", config_0014, sizeof config_0014},
    {"config/0014_organizations_that_sleep.down.sql", config_0014_down, sizeof config_0014_down},
    {"config/0015_kek_rotation.sql", config_0015, sizeof config_0015},
    {"config/0015_kek_rotation.down.sql", config_0015_down, sizeof config_0015_down},
    {"config/0016_life_of_organizations.sql", config_0016, sizeof config_0016},
    {"config/0016_life_of_organizations.down.sql", config_0016_down, sizeof config_0016_down},
    {"config/0017_first_passwords.sql", config_0017, sizeof config_0017},
    {"config/0017_first_passwords.down.sql", config_0017_down, sizeof config_0017_down},
    {"config/0018_organization_places.sql", config_0018, sizeof config_0018},
    {"config/0018_organization_places.down.sql", config_0018_down, sizeof config_0018_down},
    {"config/0019_password_derivation.sql", config_0019, sizeof config_0019},
    {"config/0019_password_derivation.down.sql", config_0019_down, sizeof config_0019_down},
    {"config/0020_compatible_migrations.sql", config_0020, sizeof config_0020},
    {"config/0020_compatible_migrations.down.sql", config_0020_down, sizeof config_0020_down},
    {"config/0021_stored_views.sql", config_0021, sizeof config_0021},
    {"config/0021_stored_views.down.sql", config_0021_down, sizeof config_0021_down},
    {"config/0022_key_control.sql", config_0022, sizeof config_0022},
    {"config/0022_key_control.down.sql", config_0022_down, sizeof config_0022_down},
    {"config/0023_client_certificates.sql", config_0023, sizeof config_0023},
    {"config/0023_client_certificates.down.sql", config_0023_down, sizeof config_0023_down},
    {"config/0024_event_shipment.sql", config_0024, sizeof config_0024},
    {"config/0024_event_shipment.down.sql", config_0024_down, sizeof config_0024_down},
    {"config/0025_organization_moves.sql", config_0025, sizeof config_0025},
    {"config/0025_organization_moves.down.sql", config_0025_down, sizeof config_0025_down},
    {"config/0026_refused_tokens.sql", config_0026, sizeof config_0026},
    {"config/0026_refused_tokens.down.sql", config_0026_down, sizeof config_0026_down},
    {"config/0027_copies.sql", config_0027, sizeof config_0027},
    {"config/0027_copies.down.sql", config_0027_down, sizeof config_0027_down},
    {"config/0028_comments.sql", config_0028, sizeof config_0028},
    {"config/0028_comments.down.sql", config_0028_down, sizeof config_0028_down},
    {"config/0029_refused_organizations.sql", config_0029, sizeof config_0029},
    {"config/0029_refused_organizations.down.sql", config_0029_down, sizeof config_0029_down},
    {"config/0030_invitations.sql", config_0030, sizeof config_0030},
    {"config/0030_invitations.down.sql", config_0030_down, sizeof config_0030_down},
    {"config/0031_sealed_audit.sql", config_0031, sizeof config_0031},
    {"config/0031_sealed_audit.down.sql", config_0031_down, sizeof config_0031_down},
    {"config/0032_lookups.sql", config_0032, sizeof config_0032},
    {"config/0032_lookups.down.sql", config_0032_down, sizeof config_0032_down},
    {"config/0033_audit_sealing.sql", config_0033, sizeof config_0033},
    {"config/0033_audit_sealing.down.sql", config_0033_down, sizeof config_0033_down},
    {"config/0034_trigger_functions.sql", config_0034, sizeof config_0034},
    {"config/0034_trigger_functions.down.sql", config_0034_down, sizeof config_0034_down},
    {"config/0035_key_change_progress.sql", config_0035, sizeof config_0035},
    {"config/0035_key_change_progress.down.sql", config_0035_down, sizeof config_0035_down},
    {"org/0001_entities.sql", org_0001, sizeof org_0001},
    {"org/0002_generations.sql", org_0002, sizeof org_0002},
    {"org/0003_access.sql", org_0003, sizeof org_0003},
    {"org/0004_event_chain.sql", org_0004, sizeof org_0004},
    {"org/0005_audit.sql", org_0005, sizeof org_0005},
    {"org/0005_audit.down.sql", org_0005_down, sizeof org_0005_down},
    {"org/0006_email.sql", org_0006, sizeof org_0006},
    {"org/0006_email.down.sql", org_0006_down, sizeof org_0006_down},
    {"org/0007_email_settings.sql", org_0007, sizeof org_0007},
    {"org/0007_email_settings.down.sql", org_0007_down, sizeof org_0007_down},
    {"org/0008_key_goes_forward.sql", org_0008, sizeof org_0008},
    {"org/0008_key_goes_forward.down.sql", org_0008_down, sizeof org_0008_down},
    {"org/0009_mail_destinations.sql", org_0009, sizeof org_0009},
    {"org/0009_mail_destinations.down.sql", org_0009_down, sizeof org_0009_down},
    {"org/0010_evidence.sql", org_0010, sizeof org_0010},
    {"org/0010_evidence.down.sql", org_0010_down, sizeof org_0010_down},
    {"org/0011_generation_places.sql", org_0011, sizeof org_0011},
    {"org/0011_generation_places.down.sql", org_0011_down, sizeof org_0011_down},
    {"org/0012_mail.sql", org_0012, sizeof org_0012},
    {"org/0012_mail.down.sql", org_0012_down, sizeof org_0012_down},
    {"org/0013_waiting_routers.sql", org_0013, sizeof org_0013},
    {"org/0013_waiting_routers.down.sql", org_0013_down, sizeof org_0013_down},
    {"org/0014_callers_and_queries.sql", org_0014, sizeof org_0014},
    {"org/0014_callers_and_queries.down.sql", org_0014_down, sizeof org_0014_down},
    {"org/0015_reference_columns.sql", org_0015, sizeof org_0015},
    {"org/0015_reference_columns.down.sql", org_0015_down, sizeof org_0015_down},
    {"org/0016_console.sql", org_0016, sizeof org_0016},
    {"org/0016_console.down.sql", org_0016_down, sizeof org_0016_down},
    {"org/0017_what_sql_may.sql", org_0017, sizeof org_0017},
    {"org/0017_what_sql_may.down.sql", org_0017_down, sizeof org_0017_down},
    {"org/0018_application_ids.sql", org_0018, sizeof org_0018},
    {"org/0018_application_ids.down.sql", org_0018_down, sizeof org_0018_down},
    {"org/0019_roles.sql", org_0019, sizeof org_0019},
    {"org/0019_roles.down.sql", org_0019_down, sizeof org_0019_down},
    {"org/0020_mail_accounts.sql", org_0020, sizeof org_0020},
    {"org/0020_mail_accounts.down.sql", org_0020_down, sizeof org_0020_down},
    {"org/0021_sorted_lists.sql", org_0021, sizeof org_0021},
    {"org/0021_sorted_lists.down.sql", org_0021_down, sizeof org_0021_down},
    {"org/0022_content_ids.sql", org_0022, sizeof org_0022},
    {"org/0022_content_ids.down.sql", org_0022_down, sizeof org_0022_down},
    {"org/0023_comments.sql", org_0023, sizeof org_0023},
    {"org/0023_comments.down.sql", org_0023_down, sizeof org_0023_down},
    {"org/0024_callers_and_types.sql", org_0024, sizeof org_0024},
    {"org/0024_callers_and_types.down.sql", org_0024_down, sizeof org_0024_down},
    {"org/0025_sealed_audit.sql", org_0025, sizeof org_0025},
    {"org/0025_sealed_audit.down.sql", org_0025_down, sizeof org_0025_down},
    {"org/0026_lookups.sql", org_0026, sizeof org_0026},
    {"org/0026_lookups.down.sql", org_0026_down, sizeof org_0026_down},
    {"org/0027_mailbox_belonging.sql", org_0027, sizeof org_0027},
    {"org/0027_mailbox_belonging.down.sql", org_0027_down, sizeof org_0027_down},
    {"org/0028_event_order.sql", org_0028, sizeof org_0028},
    {"org/0028_event_order.down.sql", org_0028_down, sizeof org_0028_down},
    {"org/0029_event_times.sql", org_0029, sizeof org_0029},
    {"org/0029_event_times.down.sql", org_0029_down, sizeof org_0029_down},
    {"org/0030_one_index.sql", org_0030, sizeof org_0030},
    {"org/0030_one_index.down.sql", org_0030_down, sizeof org_0030_down},
    {"org/0031_bounds.sql", org_0031, sizeof org_0031},
    {"org/0031_bounds.down.sql", org_0031_down, sizeof org_0031_down},
    {"org/0032_answers.sql", org_0032, sizeof org_0032},
    {"org/0032_answers.down.sql", org_0032_down, sizeof org_0032_down},
    {"org/0033_trigger_functions.sql", org_0033, sizeof org_0033},
    {"org/0033_trigger_functions.down.sql", org_0033_down, sizeof org_0033_down},
};

const struct embedded_file *embedded_migrations(size_t *count) {
    *count = sizeof files / sizeof files[0];
    return files;
}
