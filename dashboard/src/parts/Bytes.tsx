import type { Schemas } from "../api/client";
import { bytes } from "./format";

const sources = [
  { name: "reused", word: "Reused from the old slot", note: "already on the device" },
  { name: "peers", word: "From neighbours", note: "over the local network" },
  { name: "origin", word: "From the server", note: "over the uplink" },
] as const;

/** The bytes of one device as a bar whose full width is `most`, so that bars below each other compare. */
export function SourceBar({
  of,
  most,
  label,
  reused = true,
}: {
  of: Schemas["Bytes"];
  most: number;
  label: string;
  reused?: boolean;
}) {
  const parts = [...sources].reverse().filter((s) => of[s.name] > 0 && (reused || s.name !== "reused"));
  const sum = parts.reduce((n, s) => n + of[s.name], 0);
  const text = parts.map((s) => `${s.word} ${bytes(of[s.name])}`).join(", ") || "nothing moved yet";
  return (
    <div className="bar bar-scale" role="img" aria-label={`${label}: ${text}`}>
      <div className="bar-share" style={{ width: `${most > 0 ? (100 * sum) / most : 0}%` }}>
        {parts.map((s) => (
          <span key={s.name} className={`bar-part of-${s.name}`} style={{ flexGrow: of[s.name] }} />
        ))}
      </div>
    </div>
  );
}

/** Where the bytes of an update came from. The reused ones are plain, the others as they were on the wire. */
export function Bytes({ of, label }: { of: Schemas["Bytes"]; label: string }) {
  const parts = sources.filter((s) => of[s.name] > 0);
  const text = parts.map((s) => `${s.word} ${bytes(of[s.name])}`).join(", ") || "nothing moved yet";
  return (
    <div>
      <div className="bar" role="img" aria-label={`${label}: ${text}`}>
        {parts.map((s) => (
          <span key={s.name} className={`bar-part of-${s.name}`} style={{ flexGrow: of[s.name] }} />
        ))}
      </div>
      <ul className="sources">
        {sources.map((s) => (
          <li key={s.name}>
            <i className={`dot of-${s.name}`} aria-hidden />
            <span>
              {s.word} <span className="faint">{s.note}</span>
            </span>
            <b className="num">{bytes(of[s.name])}</b>
          </li>
        ))}
      </ul>
    </div>
  );
}
