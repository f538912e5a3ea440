import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import type { Schemas } from "../../api/client";
import { rollout } from "../../api/queries";
import { Bytes } from "../../parts/Bytes";
import { many, number } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { reasonWords } from "../../parts/marks";
import { Card, Page } from "../../parts/Page";
import { RolloutMark } from "../../parts/RolloutLine";
import { useSay } from "../../parts/Say";
import { StageRail } from "../../parts/StageRail";
import { StatusBar, StatusLegend } from "../../parts/StatusBar";
import { When } from "../../parts/When";
import { Actions } from "./Actions";
import { Members } from "./Members";
import "../device/device.css";
import "./rollout.css";

type View = Schemas["Rollout"];
const route = getRouteApi("/rollouts/$id");

/** One rollout, live: its stages, what became of whom, who decided what. */
export function Rollout() {
  const { id } = route.useParams();
  const query = useQuery(rollout(id));
  useSpoken(query.data);
  return (
    <Page
      title={
        query.data ? `${query.data.product} ${query.data.version} to ${query.data.group}` : `Rollout ${id}`
      }
      heading={
        query.data && (
          <>
            {query.data.product} {query.data.version} <span className="soft">to {query.data.group}</span>
            <span className="beside">
              <RolloutMark of={query.data} />
            </span>
          </>
        )
      }
      lead={query.data?.why}
      actions={query.data && <Actions of={query.data} />}
    >
      <Loaded of={query} lines={10}>
        {(r) => (
          <>
            <Totals of={r} />
            <div className="columns">
              <div>
                <Card title="Stages">
                  <StageRail of={r} />
                </Card>
                <Decisions items={r.decisions} />
              </div>
              <div>
                <Reasons of={r} />
                <Card title="Where the bytes came from">
                  <Bytes of={r.bytes} label="Bytes of this rollout" />
                </Card>
              </div>
            </div>
            <Members of={r} />
          </>
        )}
      </Loaded>
    </Page>
  );
}

/** Says aloud when a rollout comes to another state. */
function useSpoken(of: View | undefined) {
  const say = useSay();
  const before = useRef<string | undefined>(undefined);
  useEffect(() => {
    if (!of) return;
    if (before.current && before.current !== of.state) say.done(`${of.product} ${of.version}: ${of.why}`);
    before.current = of.state;
  }, [of, say]);
}

function Totals({ of }: { of: View }) {
  return (
    <Card
      title={
        <Link to="/rollouts/$id" params={{ id: of.id }} hash="devices" className="rollout-name">
          {many(of.counts.total, "device")}
        </Link>
      }
      aside={
        <>
          started <When at={of.created_at} /> by {of.created_by}
          {of.ended_at && (
            <>
              , ended <When at={of.ended_at} />
            </>
          )}
        </>
      }
    >
      <StatusBar counts={of.counts} label="All devices" />
      <StatusLegend counts={of.counts} behind={{ rollout: of.id }} />
    </Card>
  );
}

function Reasons({ of }: { of: View }) {
  const abort = of.abort;
  return (
    <Card title="Failures">
      {of.failures.length === 0 ? (
        <p className="soft">None.</p>
      ) : (
        <ul className="reasons">
          {of.failures.map((f) => (
            <li key={f.reason}>
              <ReasonWay of={of} status="failed" reason={f.reason} devices={f.devices} />
              {f.example && <p className="mono faint">{f.example}</p>}
            </li>
          ))}
        </ul>
      )}
      {abort && (
        <p className="faint note">
          It stops itself when at least {many(abort.failures ?? 1, "device")} failed, and at least{" "}
          {abort.failure_percent ?? 10} % of those in open stages.
        </p>
      )}
      {of.exclusions && of.exclusions.length > 0 && (
        <>
          <h3 className="sub left-out">Left out</h3>
          <ul className="reasons">
            {of.exclusions.map((e) => (
              <li key={e.reason}>
                <ReasonWay of={of} status="excluded" reason={e.reason} devices={e.devices} />
              </li>
            ))}
          </ul>
        </>
      )}
    </Card>
  );
}

function ReasonWay(p: { of: View; status: "failed" | "excluded"; reason: string; devices: number }) {
  return (
    <Link
      to="/rollouts/$id"
      params={{ id: p.of.id }}
      search={{ status: p.status, ...(p.reason ? { reason: p.reason } : {}) }}
      hash="devices"
      className="reason-way"
    >
      <span>{reasonWords(p.reason) || "No reason given"}</span>
      <b className="num">{number(p.devices)}</b>
    </Link>
  );
}

function Decisions({ items }: { items: Schemas["Decision"][] }) {
  return (
    <Card title="Decisions">
      {items.length === 0 ? (
        <p className="soft">None yet.</p>
      ) : (
        <ol className="decisions">
          {[...items].reverse().map((d) => (
            <li key={d.at + d.text}>
              <span>
                <b>{d.by}</b> {d.text}
              </span>
              <span className="faint">
                <When at={d.at} />
              </span>
            </li>
          ))}
        </ol>
      )}
    </Card>
  );
}
