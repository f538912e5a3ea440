import type { ReactNode } from "react";
import { bytes } from "./format";

/** Amounts below each other, each with a bar of one scale. */
export function Shares({ label, children }: { label: string; children: ReactNode }) {
  return (
    <ul className="shares" aria-label={label}>
      {children}
    </ul>
  );
}

export function Share({
  of,
  most,
  colour,
  note,
  children,
}: {
  of: number;
  most: number;
  colour: "peers" | "origin" | "late" | "rest";
  note?: string;
  children: ReactNode;
}) {
  return (
    <li className="share">
      <span className="share-who">{children}</span>
      <span className="share-sum">
        {note && <span className="faint">{note} · </span>}
        <b className="num">{bytes(of)}</b>
      </span>
      <span className="share-bar" aria-hidden>
        <span
          className={`of-${colour}`}
          style={{ width: `${most > 0 ? Math.min(100, (100 * of) / most) : 0}%` }}
        />
      </span>
    </li>
  );
}
