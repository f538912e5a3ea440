import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { device } from "../../api/queries";
import { Bytes } from "../../parts/Bytes";
import { short } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Mark } from "../../parts/Mark";
import { Card, Page } from "../../parts/Page";
import { fetched } from "../../parts/saved";
import { term } from "../../parts/selector";
import { When } from "../../parts/When";
import { Runs, standing } from "../devices/DeviceTable";
import { Admission } from "./Admission";
import { AtSite } from "./AtSite";
import { LabelEditor } from "./LabelEditor";
import { Origins } from "./Origins";
import { Timeline } from "./Timeline";
import "./device.css";

const route = getRouteApi("/devices/$id");

/** One device: what it runs, what it is doing, and why. */
export function Device() {
  const { id } = route.useParams();
  const query = useQuery(device(id));
  return (
    <Page
      title={id}
      lead={query.data?.why}
      actions={query.data && <Admission of={query.data} />}
      heading={
        <>
          {id}{" "}
          {query.data && (
            <span className="beside">
              <Mark of={standing(query.data)} />
            </span>
          )}
        </>
      }
    >
      <Loaded of={query} lines={10}>
        {(d) => (
          <div className="columns">
            <div>
              <UpdateCard of={d} />
              <AtSite of={d} />
              <Card title="Labels">
                <LabelEditor key={d.id} of={d} />
              </Card>
            </div>
            <div>
              <Facts of={d} />
              <Card title="Groups">
                {d.groups.length === 0 ? (
                  <p className="soft">In no group.</p>
                ) : (
                  <div className="tags">
                    {d.groups.map((g) => (
                      <Link key={g} to="/devices" search={{ filter: term("group", g) }} className="tag">
                        {g}
                      </Link>
                    ))}
                  </div>
                )}
              </Card>
            </div>
          </div>
        )}
      </Loaded>
    </Page>
  );
}

function UpdateCard({ of }: { of: Schemas["Device"] }) {
  const u = of.update;
  if (!u) {
    return (
      <Card title="Last update">
        <p className="soft">It has not been asked to update yet.</p>
      </Card>
    );
  }
  return (
    <Card
      title={`Update to ${u.product} ${u.version}`}
      aside={
        u.rollout ? (
          <Link to="/rollouts/$id" params={{ id: u.rollout }}>
            Its rollout
          </Link>
        ) : undefined
      }
    >
      <div className="stack">
        <Timeline of={u} />
        <div>
          <h3 className="sub">Bytes by source</h3>
          <Bytes of={u.bytes} label="Bytes of this update" />
          <p className="soft note">{fetched(u.bytes)}</p>
        </div>
        <Origins of={u} />
      </div>
    </Card>
  );
}

function Facts({ of }: { of: Schemas["Device"] }) {
  const r = of.running;
  return (
    <Card title="Running">
      <dl className="facts">
        <dt>Release</dt>
        <dd>
          {r.product && r.version ? (
            <Link to="/releases/$product/$version" params={{ product: r.product, version: r.version }}>
              {r.product} {r.version}
            </Link>
          ) : (
            <Runs of={r} />
          )}
        </dd>
        <dt>Slot</dt>
        <dd>{r.slot || <span className="faint">not said yet</span>}</dd>
        <dt>Manifest</dt>
        <dd>
          {r.sha256 ? (
            <code title={r.sha256}>{short(r.sha256)}…</code>
          ) : (
            <span className="faint">unknown</span>
          )}
        </dd>
        <dt>Hardware</dt>
        <dd>
          <Link to="/devices" search={{ filter: term("hardware", of.hardware) }}>
            {of.hardware}
          </Link>
        </dd>
        <dt>Agent</dt>
        <dd>{of.agent ?? <span className="faint">not said yet</span>}</dd>
        <dt>Address</dt>
        <dd>{of.address ?? <span className="faint">unknown</span>}</dd>
        <dt>Last seen</dt>
        <dd>
          <When at={of.last_seen} />
        </dd>
        <dt>Enrolled</dt>
        <dd>
          <When at={of.enrolled_at} />
        </dd>
      </dl>
    </Card>
  );
}
