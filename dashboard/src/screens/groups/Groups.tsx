import { Button } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, read, type Schemas } from "../../api/client";
import { keysFor } from "../../api/keys";
import { groups } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { many, number } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Card, Page } from "../../parts/Page";
import { useSay } from "../../parts/Say";
import { term } from "../../parts/selector";
import { useMay } from "../../shell/session";
import { GroupForm } from "./GroupForm";

type Group = Schemas["Group"];
const everybody = "all"; // the group that there always is

/** Groups: selectors over labels, so that a device joins by what it is. */
export function Groups() {
  const query = useQuery(groups());
  const may = useMay("device");
  const [editing, setEditing] = useState<Group | "new" | null>(null);
  const [leaving, setLeaving] = useState<Group | null>(null);
  return (
    <Page
      title="Groups"
      lead="A group is a selector over labels. Devices come and go by themselves as their labels change."
      actions={
        may && (
          <Button leftSection={<IconPlus size={16} />} onClick={() => setEditing("new")}>
            New group
          </Button>
        )
      }
    >
      <Card flush>
        <div className="card-pad">
          <Loaded of={query}>
            {(items) => (
              <div className="table-wrap">
                <table className="table">
                  <thead>
                    <tr>
                      <th scope="col">Group</th>
                      <th scope="col">Selector</th>
                      <th scope="col" className="right">
                        Devices
                      </th>
                      <th scope="col" className="right wide">
                        Priority
                      </th>
                      <th scope="col">
                        <span className="unseen">Change</span>
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {items.map((g) => (
                      <tr key={g.name}>
                        <td className="main">{g.name}</td>
                        <td>
                          {g.selector ? (
                            <code>{g.selector}</code>
                          ) : (
                            <span className="faint">every device</span>
                          )}
                        </td>
                        <td className="right">
                          <Link to="/devices" search={{ filter: term("group", g.name) }}>
                            {number(g.devices)}
                          </Link>
                        </td>
                        <td className="right wide">{g.priority}</td>
                        <td className="right">
                          {may && g.name !== everybody && (
                            <span className="row" style={{ justifyContent: "flex-end" }}>
                              <Button size="compact-sm" variant="default" onClick={() => setEditing(g)}>
                                Edit<span className="unseen"> {g.name}</span>
                              </Button>
                              <Button size="compact-sm" variant="default" onClick={() => setLeaving(g)}>
                                Remove<span className="unseen"> {g.name}</span>
                              </Button>
                            </span>
                          )}
                        </td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
          </Loaded>
        </div>
      </Card>
      {editing && <GroupForm of={editing === "new" ? null : editing} onClose={() => setEditing(null)} />}
      {leaving && <Remove of={leaving} onClose={() => setLeaving(null)} />}
    </Page>
  );
}

function Remove({ of, onClose }: { of: Group; onClose: () => void }) {
  const client = useQueryClient();
  const say = useSay();
  const remove = useMutation({
    mutationFn: () => read(api.DELETE("/groups/{id}", { params: { path: { id: of.name } } })),
    onSuccess: () => {
      for (const queryKey of keysFor({ kind: "group", id: of.name }))
        void client.invalidateQueries({ queryKey });
      say.done(`The group ${of.name} is gone.`);
      onClose();
    },
    onError: say.failed,
  });
  return (
    <Confirm
      title={`Remove the group ${of.name}?`}
      verb="Remove"
      danger
      busy={remove.isPending}
      onClose={onClose}
      onYes={() => remove.mutate()}
    >
      {many(of.devices, "device")} leave it. They stay in the fleet and keep what they run.
    </Confirm>
  );
}
