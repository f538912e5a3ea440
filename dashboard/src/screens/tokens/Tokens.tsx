import { Button } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, read, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { tokens } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { number } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Card, Empty, Page } from "../../parts/Page";
import { useSay } from "../../parts/Say";
import { When } from "../../parts/When";
import { useMay } from "../../shell/session";
import { TokenForm } from "./TokenForm";

type Token = Schemas["Token"];

/** Who and what may come in: tokens of devices that enrol, and of people and programs. */
export function Tokens() {
  const may = useMay("admin");
  return may ? <List /> : <Refused />;
}

function Refused() {
  return (
    <Page title="Tokens">
      <Empty>Only an administrator sees tokens; the one that you signed in with has another scope.</Empty>
    </Page>
  );
}

function List() {
  const query = useQuery(tokens());
  const [making, setMaking] = useState(false);
  const [revoking, setRevoking] = useState<Token | null>(null);
  return (
    <Page
      title="Tokens"
      lead="A device enrols with a token once; after that its own certificate speaks for it."
      actions={
        <Button leftSection={<IconPlus size={16} />} onClick={() => setMaking(true)}>
          New token
        </Button>
      }
    >
      <Card flush>
        <div className="card-pad">
          <Loaded of={query}>
            {(items) =>
              items.length === 0 ? <Empty>No token.</Empty> : <Table items={items} onRevoke={setRevoking} />
            }
          </Loaded>
        </div>
      </Card>
      {making && <TokenForm onClose={() => setMaking(false)} />}
      {revoking && <Revoke of={revoking} onClose={() => setRevoking(null)} />}
    </Page>
  );
}

function Table({ items, onRevoke }: { items: Token[]; onRevoke: (t: Token) => void }) {
  return (
    <div className="table-wrap">
      <table className="table">
        <thead>
          <tr>
            <th scope="col">Token</th>
            <th scope="col">For</th>
            <th scope="col" className="wide">
              Gives
            </th>
            <th scope="col" className="right wide">
              Uses left
            </th>
            <th scope="col">Expires</th>
            <th scope="col" className="wide">
              Made
            </th>
            <th scope="col">
              <span className="unseen">Change</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((t) => (
            <tr key={t.id}>
              <td className="main">
                {t.note || <span className="faint">no note</span>}
                <div className="faint mono">{t.id}</div>
              </td>
              <td>{t.kind === "enroll" ? "devices" : "an operator"}</td>
              <td className="wide">{gives(t)}</td>
              <td className="right wide">
                {t.kind === "operator" ? "–" : t.uses_left === undefined ? "no limit" : number(t.uses_left)}
              </td>
              <td>
                <When at={t.expires_at} />
              </td>
              <td className="wide">
                <When at={t.created_at} /> <span className="faint">by {t.created_by}</span>
              </td>
              <td className="right">
                <Button size="compact-sm" variant="default" onClick={() => onRevoke(t)}>
                  Revoke<span className="unseen"> {t.note || t.id}</span>
                </Button>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function gives(t: Token) {
  if (t.kind === "operator") return t.scopes?.join(", ") || "–";
  const labels = Object.entries(t.labels ?? {}).map(([k, v]) => `${k}=${v}`);
  if (t.approve) labels.push("waits to be accepted");
  return labels.join(", ") || <span className="faint">no labels</span>;
}

function Revoke({ of, onClose }: { of: Token; onClose: () => void }) {
  const client = useQueryClient();
  const say = useSay();
  const revoke = useMutation({
    mutationFn: () => read(api.DELETE("/tokens/{id}", { params: { path: { id: of.id } } })),
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: keys.tokens });
      void client.invalidateQueries({ queryKey: keys.audit });
      say.done("The token is worthless now.");
      onClose();
    },
    onError: say.failed,
  });
  return (
    <Confirm
      title={`Revoke ${of.note || of.id}?`}
      verb="Revoke"
      danger
      busy={revoke.isPending}
      onClose={onClose}
      onYes={() => revoke.mutate()}
    >
      {of.kind === "enroll"
        ? "No further device can enrol with it. Those that did stay in the fleet."
        : "Whoever uses it is signed out at once."}
    </Confirm>
  );
}
