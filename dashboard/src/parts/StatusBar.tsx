import { Link } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { number } from "./format";
import { look, statuses } from "./marks";

type Counts = Schemas["Counts"];

/** Where the numbers of a bar lead to: the devices of a rollout, or of one stage of it. */
export interface Behind {
  rollout: string;
  stage?: number;
}

/** Devices by status as one bar. Only the widths are made here; the counts are the server's, and add up there. */
export function StatusBar({ counts, label, thin }: { counts: Counts; label: string; thin?: boolean }) {
  const parts = statuses.filter((s) => counts[s] > 0);
  const text = parts.map((s) => `${look(s).word} ${counts[s]}`).join(", ") || "no devices";
  return (
    <div className={thin ? "bar bar-thin" : "bar"} role="img" aria-label={`${label}: ${text}`}>
      {parts.map((s) => (
        <span key={s} className={`bar-part of-${s}`} style={{ flexGrow: counts[s] }} />
      ))}
    </div>
  );
}

/** The counts under a bar, each a way to exactly its devices. */
export function StatusLegend({ counts, behind }: { counts: Counts; behind?: Behind | undefined }) {
  const parts = statuses.filter((s) => counts[s] > 0);
  if (parts.length === 0) return <p className="faint">No devices.</p>;
  return (
    <ul className="legend">
      {parts.map((s) => {
        const inside = (
          <>
            <i className={`dot of-${s}`} aria-hidden />
            <span>{look(s).word}</span> <b className="num">{number(counts[s])}</b>
            <span className="unseen">{counts[s] === 1 ? "device" : "devices"}</span>
          </>
        );
        return (
          <li key={s}>
            {behind ? (
              <Link
                to="/rollouts/$id"
                params={{ id: behind.rollout }}
                search={{ status: s, ...(behind.stage === undefined ? {} : { stage: String(behind.stage) }) }}
                hash="devices"
                className="legend-item"
              >
                {inside}
              </Link>
            ) : (
              <span className="legend-item">{inside}</span>
            )}
          </li>
        );
      })}
    </ul>
  );
}
