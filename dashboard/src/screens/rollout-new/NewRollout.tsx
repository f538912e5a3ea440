import { Button, NumberInput, Select, Switch, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { api, read, type Schemas } from "../../api/client";
import { keysFor } from "../../api/keys";
import { groups, releases } from "../../api/queries";
import { many } from "../../parts/format";
import { Card, Page } from "../../parts/Page";
import { Trouble } from "../../parts/Trouble";
import { DryRun } from "./DryRun";
import { type Draft, newDraft, toRequest } from "./draft";
import { Stages } from "./Stages";
import "./rollout-new.css";

const route = getRouteApi("/rollouts/new");

/** One page: what, to whom, how fast, when to stop; beside it, what the server says would come of it. */
export function NewRollout() {
  const { release = "", group = "all" } = route.useSearch();
  const [draft, setDraft] = useState(() => newDraft(release, group));
  const set = (change: Partial<Draft>) => setDraft((d) => ({ ...d, ...change }));
  const [settled] = useDebouncedValue(draft, 300);
  const navigate = useNavigate();
  const client = useQueryClient();
  const start = useMutation({
    mutationFn: (wish: Schemas["NewRollout"]) => read(api.POST("/rollouts", { body: wish })),
    onSuccess: (made) => {
      for (const queryKey of keysFor({ kind: "rollout", id: made.id }))
        void client.invalidateQueries({ queryKey });
      void navigate({ to: "/rollouts/$id", params: { id: made.id } });
    },
  });
  const wish = toRequest(draft);
  const submit = (e: FormEvent) => {
    e.preventDefault();
    if (wish) start.mutate(wish);
  };
  return (
    <Page title="New rollout">
      <form className="columns" onSubmit={submit}>
        <div>
          <What draft={draft} set={set} />
          <Card title="Stages" aside="Each holds the devices of the ones before it.">
            <Stages of={draft.stages} set={(stages) => set({ stages })} />
          </Card>
          <Limits draft={draft} set={set} />
        </div>
        <div className="beside-form">
          <DryRun of={toRequest(settled)} />
          {start.error && <Trouble error={start.error} />}
          <Button type="submit" size="md" disabled={!wish} loading={start.isPending} fullWidth>
            Start rollout
          </Button>
        </div>
      </form>
    </Page>
  );
}

interface Part {
  draft: Draft;
  set: (change: Partial<Draft>) => void;
}

function What({ draft, set }: Part) {
  const published = useQuery(releases(undefined, undefined, 200));
  const targets = useQuery(groups());
  const names =
    published.data?.items.filter((r) => r.state === "published").map((r) => `${r.product}/${r.version}`) ??
    [];
  return (
    <Card title="What and where">
      <div className="pair">
        <Select
          label="Release"
          placeholder={
            published.data ? (names.length ? "Choose a release" : "None is published yet") : "Loading…"
          }
          data={names.map((value) => ({ value, label: value.replace("/", " ") }))}
          value={draft.release || null}
          onChange={(value) => set({ release: value ?? "" })}
          searchable
          required
        />
        <Select
          label="Group"
          data={
            targets.data?.map((g) => ({
              value: g.name,
              label: `${g.name} · ${many(g.devices, "device")}`,
            })) ?? [draft.group]
          }
          value={draft.group}
          onChange={(value) => value && set({ group: value })}
          allowDeselect={false}
          required
        />
      </div>
    </Card>
  );
}

function Limits({ draft, set }: Part) {
  const amount = (v: number | string) => (typeof v === "number" ? v : "");
  return (
    <Card title="Safety">
      <div className="stack">
        <div className="three">
          <NumberInput
            label="Stop when"
            description="devices failed, and"
            min={1}
            allowDecimal={false}
            value={draft.failures}
            onChange={(v) => set({ failures: amount(v) })}
          />
          <NumberInput
            label="that is"
            description="of the open stages"
            suffix=" %"
            min={0}
            max={100}
            allowDecimal={false}
            value={draft.failurePercent}
            onChange={(v) => set({ failurePercent: amount(v) })}
          />
          <NumberInput
            label="Time to prove itself"
            description="then a device goes back"
            suffix=" min"
            min={1}
            max={1440}
            value={draft.deadlineMinutes}
            onChange={(v) => set({ deadlineMinutes: amount(v) })}
          />
        </div>
        <Switch
          label="Only restart inside a maintenance window"
          checked={draft.window !== null}
          onChange={(e) => set({ window: e.currentTarget.checked ? { start: "01:00", end: "04:00" } : null })}
        />
        {draft.window && (
          <div className="three">
            {(["start", "end"] as const).map((side) => (
              <TextInput
                key={side}
                type="time"
                label={side === "start" ? "From (UTC)" : "To (UTC)"}
                value={draft.window?.[side] ?? ""}
                onChange={(e) =>
                  draft.window && set({ window: { ...draft.window, [side]: e.currentTarget.value } })
                }
              />
            ))}
          </div>
        )}
      </div>
    </Card>
  );
}
