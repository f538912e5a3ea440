import { Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { many, number } from "../../parts/format";

type Item = Schemas["VersionCount"];

// Newest brown, then lighter: versions are of one kind, so they share one hue.
const shades = ["#5d5146", "#94867a", "#b3a595", "#cfc4b4"];

/** Devices by the version that they run. */
export function Versions({ items }: { items: Item[] }) {
  const name = (v: Item) => (v.version ? `${v.product} ${v.version}` : "What it came with");
  return (
    <>
      <div
        className="bar"
        role="img"
        aria-label={items.map((v) => `${name(v)}: ${many(v.devices, "device")}`).join(", ")}
      >
        {items.map((v, i) => (
          <span
            key={v.product + v.version}
            className="bar-part"
            style={{ flexGrow: v.devices, background: shade(i) }}
          />
        ))}
      </div>
      <ul className="sources">
        {items.map((v, i) => (
          <li key={v.product + v.version}>
            <i className="dot" style={{ background: shade(i) }} aria-hidden />
            <Link to="/devices" search={v.filter ? { filter: v.filter } : {}} className="version-way">
              <span>{name(v)}</span>
              <b className="num">{number(v.devices)}</b>
            </Link>
          </li>
        ))}
      </ul>
    </>
  );
}

const shade = (i: number): string => shades[Math.min(i, shades.length - 1)] as string;
