import { Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { Mark } from "../../parts/Mark";
import { term } from "../../parts/selector";
import { When } from "../../parts/When";

type Device = Schemas["Device"];

/** Devices as rows. */
export function DeviceTable({ items, old }: { items: Device[]; old: boolean }) {
  return (
    <div className="table-wrap">
      <table className={old ? "table table-old" : "table"}>
        <thead>
          <tr>
            <th scope="col">Device</th>
            <th scope="col">State</th>
            <th scope="col">Runs</th>
            <th scope="col">Update</th>
            <th scope="col" className="wide">
              Last seen
            </th>
            <th scope="col" className="wide">
              Labels
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
                <div className="faint">{d.hardware}</div>
              </td>
              <td>
                <Mark of={standing(d)} />
              </td>
              <td>
                <Runs of={d.running} />
              </td>
              <td>
                <Mark of={d.phase} />
              </td>
              <td className="wide">
                <When at={d.last_seen} />
              </td>
              <td className="wide">
                <Labels of={d.labels} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** Admission first: a device that is not in cannot matter by being online. */
export function standing(d: Device): string {
  if (d.admission === "pending") return "to accept";
  if (d.admission === "rejected") return "rejected";
  return d.online ? "online" : "offline";
}

/** What runs. "Unknown" is not a version. */
export function Runs({ of }: { of: Schemas["Running"] }) {
  if (!of.version) return <span className="faint">what it came with</span>;
  return (
    <span>
      <span className="soft wide">{of.product}</span> {of.version}
    </span>
  );
}

/** Labels, each a way to the devices that share it. */
export function Labels({ of }: { of: Record<string, string> }) {
  const labels = Object.entries(of).sort();
  if (labels.length === 0) return <span className="faint">none</span>;
  return (
    <span className="tags">
      {labels.map(([key, value]) => (
        <Link key={key} to="/devices" search={{ filter: term(key, value) }} className="tag">
          {key}={value}
        </Link>
      ))}
    </span>
  );
}
