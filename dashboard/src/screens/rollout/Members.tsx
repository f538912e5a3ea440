import { CloseButton } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useEffect, useRef } from "react";
import type { Schemas } from "../../api/client";
import { rolloutDevices } from "../../api/queries";
import { bytes, duration, many } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Mark } from "../../parts/Mark";
import { look, reasonWords, statuses } from "../../parts/marks";
import { Card } from "../../parts/Page";
import { Pager } from "../../parts/Pager";
import { When } from "../../parts/When";

type Status = Schemas["Status"];
const route = getRouteApi("/rollouts/$id");

/** The devices behind the counts. Which of them is in the address, put there by any count that is clicked. */
export function Members({ of }: { of: Schemas["Rollout"] }) {
  const search = route.useSearch();
  const status = statuses.find((s): s is Status => s === search.status);
  const stage = search.stage !== undefined && /^\d+$/.test(search.stage) ? Number(search.stage) : undefined;
  const query = useQuery(rolloutDevices(of.id, { status, stage, reason: search.reason, page: search.page }));
  const place = useRef<HTMLDivElement>(null);
  const chosen = `${search.status ?? ""}${search.stage ?? ""}${search.reason ?? ""}`;
  useEffect(() => {
    if (chosen) place.current?.scrollIntoView({ block: "nearest" });
  }, [chosen]);

  return (
    <div ref={place}>
      <Card title="Devices" aside={query.data && many(query.data.total, "device")} id="devices" flush>
        <Chosen
          stage={stage === undefined ? undefined : of.stages[stage]?.name}
          status={status}
          reason={search.reason}
        />
        <div className="card-pad">
          <Loaded of={query} lines={5}>
            {(list) =>
              list.items.length === 0 ? (
                <p className="empty">No device is like that just now.</p>
              ) : (
                <>
                  <Table items={list.items} stages={of.stages} old={query.isPlaceholderData} />
                  <Pager next={list.next_page_token} />
                </>
              )
            }
          </Loaded>
        </div>
      </Card>
    </div>
  );
}

function Chosen({
  stage,
  status,
  reason,
}: {
  stage: string | undefined;
  status: Status | undefined;
  reason: string | undefined;
}) {
  const words = [
    stage && `stage ${stage}`,
    status && look(status).word,
    reason && reasonWords(reason),
  ].filter(Boolean);
  const navigate = route.useNavigate();
  if (words.length === 0) return null;
  return (
    <p className="chosen">
      Only: <b>{words.join(" · ")}</b>
      <CloseButton
        size="sm"
        aria-label="Show all devices"
        onClick={() => void navigate({ search: {}, resetScroll: false })}
      />
    </p>
  );
}

function Table({
  items,
  stages,
  old,
}: {
  items: Schemas["RolloutDevice"][];
  stages: Schemas["StageView"][];
  old: boolean;
}) {
  return (
    <div className="table-wrap">
      <table className={old ? "table table-old" : "table"}>
        <thead>
          <tr>
            <th scope="col">Device</th>
            <th scope="col">Status</th>
            <th scope="col" className="wide">
              Stage
            </th>
            <th scope="col">Since</th>
            <th scope="col" className="right wide">
              Reused
            </th>
            <th scope="col" className="right wide">
              Neighbours
            </th>
            <th scope="col" className="right wide">
              Server
            </th>
            <th scope="col" className="right wide">
              Download
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((d) => (
            <tr key={d.id}>
              <td className="main">
                <Link to="/devices/$id" params={{ id: d.id }}>
                  {d.id}
                </Link>
              </td>
              <td>
                <Mark of={d.status} />
                {d.reason && (
                  <div className="faint" title={d.detail}>
                    {reasonWords(d.reason)}
                  </div>
                )}
              </td>
              <td className="wide">
                {d.stage < 0 ? <span className="faint">not open</span> : stages[d.stage]?.name}
              </td>
              <td>
                <When at={d.since} never="–" />
              </td>
              <td className="right wide">{amount(d, "reused")}</td>
              <td className="right wide">{amount(d, "peers")}</td>
              <td className="right wide">{amount(d, "origin")}</td>
              <td className="right wide">
                {d.millis?.downloading === undefined ? "–" : duration(d.millis.downloading)}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Bytes from a source; a dash before the device knows what it needs, because that is not zero. */
function amount({ bytes: b }: Schemas["RolloutDevice"], source: "reused" | "peers" | "origin"): string {
  return b?.total ? bytes(b[source]) : "–";
}
