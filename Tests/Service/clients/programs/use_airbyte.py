# ruff: noqa: E402
"""Runs Airbyte's source for Dataverse as Airbyte does: checks the connection, discovers the streams, and reads some of them completely."""

import json
import logging
import sys

import truststore

# The package trusts only the CA certificates of certifi. This makes it trust those of the system.
truststore.inject_into_ssl()

from airbyte_cdk.models import ConfiguredAirbyteCatalog
from source_microsoft_dataverse import SourceMicrosoftDataverse

settings = json.load(open(sys.argv[1]))
names = sys.argv[2:]
logger = logging.getLogger("airbyte")
source = SourceMicrosoftDataverse()
found = {"connected": source.check_connection(logger, settings)[0]}
catalog = source.discover(logger, settings)
found["streams"] = {stream.name: [sorted(mode.value for mode in stream.supported_sync_modes), stream.source_defined_primary_key] for stream in catalog.streams}
schemas = {stream.name: stream.json_schema["properties"] for stream in catalog.streams}
found["schemas"] = {name: schemas[name] for name in names}
configured = ConfiguredAirbyteCatalog.parse_obj({"streams": [
    {"stream": json.loads(stream.json()), "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"} for stream in catalog.streams if stream.name in names]})
found["records"] = {name: [] for name in names}
for message in source.read(logger, settings, configured):
    if message.record:
        found["records"][message.record.stream].append(message.record.data)
    if message.trace and message.trace.error:
        raise SystemExit(message.trace.error.internal_message)
print(json.dumps(found))
