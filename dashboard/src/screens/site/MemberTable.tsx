import type { Schemas } from "../../api/client";
import { SourceBar } from "../../parts/Bytes";
import { bytes, many } from "../../parts/format";
import { LinkMark } from "../../parts/LinkMark";
import { Mark } from "../../parts/Mark";
import { Neighbor, Neighbors } from "../../parts/Neighbor";
import { deed } from "../../parts/offence";

type Device = Schemas["SiteDevice"];

const ended = ["reverted", "failed", "committed"];

/** Devices as rows, each with a bar of one scale. */
export function MemberTable({
  of,
  reused,
  old,
}: {
  of: Schemas["SiteDetail"];
  reused: boolean;
  old: boolean;
}) {
  const most = reused ? of.most.all : of.most.moved;
  return (
    <div className="table-wrap">
      <table className={old ? "table table-old members" : "table members"}>
        <thead>
          <tr>
            <th scope="col">Device</th>
            <th scope="col" className="members-bytes">
              Where its bytes came from
            </th>
            <th scope="col" className="right wide">
              Gave
            </th>
            <th scope="col" className="wide">
              Among its neighbours
            </th>
            <th scope="col" className="wide">
              Runs
            </th>
            <th scope="col" className="wide">
              State
            </th>
          </tr>
        </thead>
        <tbody>
          {of.devices.map((d) => (
            <tr key={d.id}>
              <td className="main">
                <Neighbor id={d.id} />
                <div className="faint">
                  <LinkMark of={d.link} />
                </div>
                <div className="narrow">
                  <State of={d} />
                </div>
              </td>
              <td className="members-bytes">
                <Sources of={d} most={most} reused={reused} />
                <div className="narrow">
                  <Standing of={d} />
                </div>
              </td>
              <td className="right wide nowrap">{served(d)}</td>
              <td className="wide members-standing">
                <Standing of={d} />
              </td>
              <td className="wide nowrap">
                {d.version ?? <span className="faint">what it came with</span>}
                {d.target && d.target !== d.version && (
                  <div className="faint">
                    {ended.includes(d.phase) ? "tried" : "to"} {d.target}
                  </div>
                )}
              </td>
              <td className="wide">
                <State of={d} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The bar of a device, with its numbers: a dash where nothing moved, because that is not zero. */
function Sources({ of, most, reused }: { of: Device; most: number; reused: boolean }) {
  const b = of.bytes;
  if (!b || b.origin + b.peers + b.reused === 0) return <span className="faint">nothing fetched yet</span>;
  return (
    <>
      <SourceBar of={b} most={most} label={`Bytes of ${of.id}`} reused={reused} />
      <div className="faint amounts" aria-hidden>
        <span>
          <i className="dot of-origin" /> {bytes(b.origin)}
        </span>
        <span>
          <i className="dot of-peers" /> {bytes(b.peers)}
        </span>
        {reused && (
          <span>
            <i className="dot of-reused" /> {bytes(b.reused)}
          </span>
        )}
      </div>
    </>
  );
}

const served = (d: Device): string => (d.bytes ? bytes(d.bytes.served ?? 0) : "–");

/** Whom it sees and does not reach, and why it takes no part when it does not. */
function Standing({ of }: { of: Device }) {
  const lost = of.isolated_from ?? [];
  const said = (of.offences ?? []).slice(0, 2); // all of them are above, by neighbour
  return (
    <>
      {of.apart ? (
        <span className="soft">{of.apart}</span>
      ) : (
        <span>
          Sharing; {of.neighbors === undefined ? "neighbours unknown" : many(of.neighbors, "neighbour")} in
          sight
        </span>
      )}
      {lost.length > 0 && (
        <div className="lost">
          Cannot reach <Neighbors ids={lost} most={3} />
        </div>
      )}
      {said.map((o) => (
        <div key={`${o.neighbor} ${o.kind}`} className="faint">
          Says that <Neighbor id={o.neighbor} /> {deed(o.kind)}
        </div>
      ))}
    </>
  );
}

function State({ of }: { of: Device }) {
  return of.online ? <Mark of={of.phase} /> : <Mark of="offline" />;
}
