import { Button } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, read, type Schemas } from "../../api/client";
import { keys, keysFor } from "../../api/keys";
import { Confirm } from "../../parts/Confirm";
import { many } from "../../parts/format";
import { useSay } from "../../parts/Say";
import { StatusBar, StatusLegend } from "../../parts/StatusBar";
import { useMay } from "../../shell/session";

type View = Schemas["Rollout"];
type Verb = "pause" | "resume" | "promote" | "abort";

const verbs: Record<Verb, { word: string; past: string; danger?: boolean; what: (r: View) => string }> = {
  pause: {
    word: "Pause",
    past: "is paused",
    what: (r) =>
      `${many(r.counts.pending, "device")} that ${r.counts.pending === 1 ? "has" : "have"} not begun will not begin. Those on their way go on.`,
  },
  resume: {
    word: "Resume",
    past: "goes on",
    what: (r) =>
      `Devices begin again where the open stage allows it; ${many(r.counts.pending, "device")} have not begun.`,
  },
  promote: {
    word: "Promote",
    past: "was promoted",
    what: (r) => {
      const next = r.stages[r.stage + 1];
      if (!next) return "The last stage is passed without waiting for its gate, and the rollout ends.";
      return `The next stage, ${next.name}, opens without waiting for the gate: ${many(next.counts.total, "more device")} may begin, ${next.want} in all.`;
    },
  },
  abort: {
    word: "Abort",
    past: "was aborted",
    danger: true,
    what: (r) =>
      `It ends for good. ${many(r.counts.pending, "device")} that ${r.counts.pending === 1 ? "has" : "have"} not begun ${r.counts.pending === 1 ? "keeps" : "keep"} what they run; ${many(r.counts.succeeded, "device")} already on the release ${r.counts.succeeded === 1 ? "stays" : "stay"} on it.`,
  },
};

/** What a person can do with a rollout now. Each asks first, with what it means in the server's own numbers. */
export function Actions({ of }: { of: View }) {
  const may = useMay("rollout");
  const [verb, setVerb] = useState<Verb | null>(null);
  const client = useQueryClient();
  const say = useSay();
  const act = useMutation({
    mutationFn: ({ action, reason }: { action: Verb; reason: string }) =>
      read(
        api.POST("/rollouts/{id}/{action}", { params: { path: { id: of.id, action } }, body: { reason } }),
      ),
    onSuccess: (r, { action }) => {
      setVerb(null);
      client.setQueryData(keys.rollout(of.id), r);
      for (const queryKey of keysFor({ kind: "rollout", id: of.id }))
        void client.invalidateQueries({ queryKey });
      say.done(`The rollout ${verbs[action].past}.`);
    },
    onError: say.failed,
  });
  if (!may || of.state === "completed" || of.state === "aborted") return null;
  const can: Verb[] = of.state === "paused" ? ["resume", "abort"] : ["promote", "pause", "abort"];
  return (
    <>
      {can.map((v) => (
        <Button
          key={v}
          {...(v === "abort" ? { color: "wax", variant: "outline" } : {})}
          {...(v === "pause" || (v === "promote" && of.waiting_for !== "approval")
            ? { variant: "default" }
            : {})}
          onClick={() => setVerb(v)}
        >
          {verbs[v].word}
        </Button>
      ))}
      {verb && (
        <Confirm
          title={`${verbs[verb].word} ${of.product} ${of.version}?`}
          verb={verbs[verb].word}
          danger={verbs[verb].danger ?? false}
          reason
          busy={act.isPending}
          onClose={() => setVerb(null)}
          onYes={(reason) => act.mutate({ action: verb, reason })}
        >
          <div className="stack">
            <p>{verbs[verb].what(of)}</p>
            <div>
              <StatusBar counts={of.counts} label="All devices" />
              <StatusLegend counts={of.counts} />
            </div>
          </div>
        </Confirm>
      )}
    </>
  );
}
