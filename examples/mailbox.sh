#!/bin/bash
# Creates a mailbox with a password, replaces the password, and deletes the mailbox. Needs jq and curl.
set -euo pipefail

deployment="${FIELDSEAL_HOME:-.fieldseal}/dev.json"
base=$(jq -r .baseURL "$deployment")
authority=$(jq -r .caFile "$deployment")
api="$base/contoso/api/data/v9.2"

# A token is valid for an hour. curl reads the secret from standard input, so that the secret is not in the list of processes.
token=$(jq -r '"client_id=\(.clients.admin.clientId)&client_secret=\(.clients.admin.clientSecret | @uri)"' "$deployment" |
    curl -sS --fail --cacert "$authority" -d grant_type=client_credentials -d @- "$base/contoso/oauth2/v2.0/token" | jq -r .access_token)

call() {
    curl -sS --fail-with-body --cacert "$authority" -H @<(echo "Authorization: Bearer $token") -H "Content-Type: application/json" "$@"
}

# The service chooses the id, and returns the record without the password.
mailbox=$(call -H "Prefer: return=representation" "$api/mailboxes" -d '{"name": "Example", "password": "the first one"}')
id=$(jq -r .mailboxid <<<"$mailbox")
jq -c '{name, password, ispasswordset}' <<<"$mailbox"

# A password is replaced like any other field, and cleared with null.
call -X PATCH "$api/mailboxes($id)" -d '{"password": "the second one"}'
call -X PATCH "$api/mailboxes($id)" -d '{"password": null}'
call "$api/mailboxes($id)?\$select=ispasswordset" | jq -c '{ispasswordset}'

# The service refuses a search by an encrypted attribute. This prints the error's message.
curl -sS --cacert "$authority" -H @<(echo "Authorization: Bearer $token") -G "$api/mailboxes" \
    --data-urlencode "\$filter=password eq 'the second one'" | jq -r .error.message

call -X DELETE "$api/mailboxes($id)"
