import { Button } from "@mantine/core";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, read, type Schemas } from "../../api/client";
import { keysFor } from "../../api/keys";
import { release } from "../../api/queries";
import { Confirm } from "../../parts/Confirm";
import { bytes, number, short } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Mark } from "../../parts/Mark";
import { Card, Page } from "../../parts/Page";
import { useSay } from "../../parts/Say";
import { When } from "../../parts/When";
import { useMay } from "../../shell/session";
import { DevicesOn } from "../releases/Releases";
import { Building } from "./Building";
import { Origin } from "./Origin";
import { Patches } from "./Patches";
import "../device/device.css";

const route = getRouteApi("/releases/$product/$version");

/** One release: how it was made, what is in it, and what can be done with it. */
export function Release() {
  const { product, version } = route.useParams();
  const query = useQuery(release(product, version));
  const name = `${product} ${version}`;
  return (
    <Page
      title={name}
      heading={
        <>
          {name}{" "}
          {query.data && (
            <span className="beside">
              <Mark of={query.data.state} />
            </span>
          )}
        </>
      }
      lead={
        query.data && (
          <>
            Made <When at={query.data.created_at} /> by {query.data.created_by}.
          </>
        )
      }
      actions={query.data && <Actions of={query.data} />}
    >
      <Loaded of={query} lines={8}>
        {(r) => (
          <>
            {(r.state === "building" || r.state === "failed") && <Building of={r} />}
            <div className="columns">
              <div>
                <Components items={r.components ?? []} />
                {r.state !== "failed" && <Patches of={r} />}
              </div>
              <div>
                <Facts of={r} />
                <Origin of={r} />
              </div>
            </div>
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Actions({ of }: { of: Schemas["Release"] }) {
  const mayRelease = useMay("release");
  const mayRollout = useMay("rollout");
  const [asking, setAsking] = useState(false);
  const client = useQueryClient();
  const say = useSay();
  const { product, version } = of;
  const yank = useMutation({
    mutationFn: () =>
      read(api.POST("/releases/{product}/{version}/yank", { params: { path: { product, version } } })),
    onSuccess: () => {
      setAsking(false);
      say.done(`${product} ${version} is yanked.`);
      for (const queryKey of keysFor({ kind: "release", id: `${product}/${version}` }))
        void client.invalidateQueries({ queryKey });
    },
    onError: say.failed,
  });
  if (of.state !== "published") return null;
  return (
    <>
      {mayRollout && (
        <Button component={Link} to="/rollouts/new" search={{ release: `${product}/${version}` } as never}>
          Roll out
        </Button>
      )}
      {mayRelease && (
        <Button variant="default" onClick={() => setAsking(true)}>
          Yank
        </Button>
      )}
      {asking && (
        <Confirm
          title={`Yank ${product} ${version}?`}
          verb="Yank"
          danger
          busy={yank.isPending}
          onClose={() => setAsking(false)}
          onYes={() => yank.mutate()}
        >
          No new rollout can use it.{" "}
          {of.devices === undefined ? "Devices" : `The ${number(of.devices)} devices`} that run it keep it,
          and rollouts under way go on.
        </Confirm>
      )}
    </>
  );
}

function Components({ items }: { items: Schemas["Component"][] }) {
  return (
    <Card title="Components" flush>
      {items.length === 0 ? (
        <p className="empty">They show here when the release is built.</p>
      ) : (
        <div className="table-wrap">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">Name</th>
                <th scope="col">Handler</th>
                <th scope="col" className="right">
                  Size
                </th>
                <th scope="col" className="wide">
                  SHA-256
                </th>
                <th scope="col" className="right wide">
                  Index
                </th>
              </tr>
            </thead>
            <tbody>
              {items.map((c) => (
                <tr key={c.name}>
                  <td className="main">{c.name}</td>
                  <td>{c.handler}</td>
                  <td className="right">{bytes(c.size)}</td>
                  <td className="wide">
                    <code title={c.sha256}>{short(c.sha256)}…</code>
                  </td>
                  <td className="right wide">{bytes(c.index_size)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function Facts({ of }: { of: Schemas["Release"] }) {
  const built = of.state === "published" || of.state === "yanked";
  const unknown = <span className="faint">not known yet</span>;
  return (
    <Card title="About it">
      <dl className="facts">
        <dt>Devices on it</dt>
        <dd>
          <DevicesOn of={of} />
        </dd>
        <dt>Hardware</dt>
        <dd>{of.hardware?.join(", ") ?? unknown}</dd>
        <dt>Image</dt>
        <dd>{of.size.payload ? bytes(of.size.payload) : unknown}</dd>
        <dt>Stored</dt>
        <dd>{built ? `${bytes(of.size.stored)} in ${number(of.size.chunks)} chunks` : unknown}</dd>
        <dt>New chunks</dt>
        <dd>{built ? bytes(of.size.new_chunks) : unknown}</dd>
        <dt>Shared chunks</dt>
        <dd>{built ? bytes(of.size.stored - of.size.new_chunks) : unknown}</dd>
        <dt>Counter</dt>
        <dd>{of.counter ?? unknown}</dd>
        <dt>Manifest</dt>
        <dd>{of.sha256 ? <code title={of.sha256}>{short(of.sha256)}…</code> : unknown}</dd>
        <dt>Signed by</dt>
        <dd>
          {of.signed_by?.map((k) => (
            <code key={k} title={k}>
              {short(k)}…{" "}
            </code>
          )) ?? unknown}
        </dd>
      </dl>
    </Card>
  );
}
