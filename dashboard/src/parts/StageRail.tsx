import { IconCheck, IconPlayerPause, IconX } from "@tabler/icons-react";
import type { Schemas } from "../api/client";
import { duration, many } from "./format";
import { StatusBar, StatusLegend } from "./StatusBar";
import { When } from "./When";

type Rollout = Schemas["Rollout"];

/** The way of a rollout, stage by stage, each with its bar. A stage that has not opened shows who would be in it; in a dry run, which has no id, none has. */
export function StageRail({ of }: { of: Rollout }) {
  return (
    <ol className="rail">
      {of.stages.map((stage, i) => {
        const state = stateOf(of, i);
        return (
          <li
            // biome-ignore lint/suspicious/noArrayIndexKey: stages have no other name and never move
            key={i}
            className={`rail-stage rail-${state}`}
            aria-current={state === "open" ? "step" : undefined}
          >
            <span className="rail-knot" aria-hidden>
              {state === "passed" ? (
                <IconCheck size={14} stroke={3} />
              ) : state === "stopped" ? (
                <IconX size={14} stroke={3} />
              ) : state === "held" ? (
                <IconPlayerPause size={13} stroke={2.5} />
              ) : (
                i + 1
              )}
            </span>
            <div className="rail-body">
              <div className="rail-head">
                <h3>{stage.name}</h3>
                <span className="faint">{of.id ? when(stage, state) : null}</span>
              </div>
              <StatusBar counts={stage.counts} label={`Stage ${i + 1}, ${stage.name}`} />
              <StatusLegend counts={stage.counts} behind={of.id ? { rollout: of.id, stage: i } : undefined} />
              <p className="faint">
                {many(stage.want, "device")} in all by the end of this stage · {gateWords(stage.gate)}
              </p>
            </div>
          </li>
        );
      })}
    </ol>
  );
}

function stateOf(of: Rollout, i: number): "passed" | "open" | "held" | "stopped" | "shut" {
  const stage = of.stages[i];
  if (of.id === "") return "shut";
  if (stage?.passed_at) return "passed";
  if (!stage?.open) return "shut";
  if (of.state === "aborted") return "stopped";
  return of.state === "paused" ? "held" : "open";
}

function when(stage: Schemas["StageView"], state: string) {
  if (stage.passed_at)
    return (
      <>
        passed <When at={stage.passed_at} />
      </>
    );
  if (state === "stopped") return "stopped here";
  if (stage.opened_at)
    return (
      <>
        opened <When at={stage.opened_at} />
      </>
    );
  return "not open yet";
}

/** What must hold before the next stage opens. */
export function gateWords(gate: Schemas["Gate"]): string {
  const words = [`${gate.success_percent ?? 90} % must succeed`];
  if (gate.soak_seconds) words.push(`watched for ${duration(gate.soak_seconds * 1000)}`);
  if (gate.approval) words.push("a person promotes");
  return words.join(", ");
}
