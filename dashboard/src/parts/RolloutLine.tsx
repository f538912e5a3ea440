import { Link } from "@tanstack/react-router";
import type { Schemas } from "../api/client";
import { Mark } from "./Mark";
import { StatusBar, StatusLegend } from "./StatusBar";

/** A rollout in a list: what, where it stands, its bar and its sentence. */
export function RolloutLine({ of }: { of: Schemas["Rollout"] }) {
  return (
    <li className="rollout-line">
      <div className="rail-head">
        <Link to="/rollouts/$id" params={{ id: of.id }} className="rollout-name">
          {of.product} {of.version} <span className="soft">to {of.group}</span>
        </Link>
        <RolloutMark of={of} />
      </div>
      <StatusBar counts={of.counts} label={`${of.product} ${of.version}`} />
      <StatusLegend counts={of.counts} behind={{ rollout: of.id }} />
      <p className="soft">{of.why}</p>
    </li>
  );
}

/** Where a rollout stands; one that waits for a person says so. */
export function RolloutMark({ of }: { of: Schemas["Rollout"] }) {
  return <Mark of={of.state === "running" && of.waiting_for === "approval" ? "approval" : of.state} />;
}
