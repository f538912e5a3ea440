import { Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { many, number } from "../../parts/format";

type Item = Schemas["VersionCount"];

// The most common one is the strongest. They share one hue, because versions are of one kind.
const shades = 4;

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

const shade = (i: number): string => `var(--shade-${Math.min(i, shades - 1)})`;
