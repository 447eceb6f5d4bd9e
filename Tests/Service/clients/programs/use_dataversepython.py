"""Signs in, writes, reads, pages, links and deletes with DataversePython. Prints the results as JSON."""

import json
import sys

import pandas
from DataversePython import DataverseClient

configuration, marker, user = sys.argv[1:]
client = DataverseClient(configuration, auth_method="client_secret", log_level="INFO")
found = {}

client.insert_rows("queues", pandas.DataFrame([{"name": f"{marker} {n}", "emailpassword": "s3cret"} for n in range(12)]), batch_size=5)
columns = ["name", "queueid", "description", "emailpassword"]
rows = client.get_rows("queues", columns=columns, filter=f"startswith(name,'{marker}')")
found["inserted"] = sorted(rows["name"])
found["passwords"] = [value for value in rows["emailpassword"] if value is not None]
found["top"] = len(client.get_rows("queues", top=2, filter=f"startswith(name,'{marker}')"))
# The package sets no page size, so the program sets it in the session.
client.session.headers["Prefer"] = "odata.maxpagesize=5"
found["paged"] = len(client.get_rows("queues", columns=["name"], filter=f"startswith(name,'{marker}')"))
del client.session.headers["Prefer"]
annotated = client.get_rows("queues", filter=f"startswith(name,'{marker}')", include_odata_annotations=True)
found["annotated"] = sorted(set(annotated["statecode@OData.Community.Display.V1.FormattedValue"]))

changed = rows[["queueid"]].assign(description="changed")
client.upsert_rows("queues", changed, "queueid", only_update_if_exists=True, batch_size=7)
found["changed"] = len(client.get_rows("queues", columns=["name"], filter=f"startswith(name,'{marker}') and description eq 'changed'"))

client.insert_rows("teams", pandas.DataFrame([{"name": marker}]))
team = client.get_rows("teams", columns=["teamid"], filter=f"name eq '{marker}'")["teamid"][0]
client.insert_m_n("teams", "systemusers", "teammembership_association", pandas.DataFrame([{"teams": team, "systemusers": user}]))
found["members"] = list(client.get_rows(f"teams({team})/teammembership_association", columns=["systemuserid"])["systemuserid"])
client.delete_row("teams", team)

client.delete_rows("queues", list(rows["queueid"]), batch_size=5)
found["left"] = len(client.get_rows("queues", columns=["name"], filter=f"startswith(name,'{marker}')"))
print(json.dumps(found))
