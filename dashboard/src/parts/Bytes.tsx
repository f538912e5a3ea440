import type { Schemas } from "../api/client";
import { bytes } from "./format";

const sources = [
  { name: "reused", word: "Reused from the old slot", note: "already on the device" },
  { name: "peers", word: "From neighbours", note: "over the local network" },
  { name: "origin", word: "From the server", note: "over the uplink" },
] as const;

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
