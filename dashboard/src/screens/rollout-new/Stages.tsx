import { ActionIcon, Button, NumberInput, Select, Switch, TagsInput } from "@mantine/core";
import { IconPlus, IconTrash } from "@tabler/icons-react";
import { type DraftStage, newStage } from "./draft";

const kinds = [
  { value: "count", label: "devices" },
  { value: "percent", label: "percent" },
  { value: "devices", label: "named" },
];
const most = 20; // that the server takes

/** The stages, each with the gate that opens the next one. */
export function Stages({ of, set }: { of: DraftStage[]; set: (stages: DraftStage[]) => void }) {
  const change = (key: number, c: Partial<DraftStage>) =>
    set(of.map((s) => (s.key === key ? { ...s, ...c } : s)));
  const add = () => set([...of, newStage(Math.max(0, ...of.map((s) => s.key)) + 1, "percent", 100)]);
  return (
    <div className="stack">
      <ol className="stages">
        {of.map((s, i) => (
          <StageRow
            key={s.key}
            of={s}
            at={i}
            change={(c) => change(s.key, c)}
            {...(of.length > 1 ? { remove: () => set(of.filter((o) => o.key !== s.key)) } : {})}
          />
        ))}
      </ol>
      {of.length < most && (
        <Button
          variant="default"
          size="xs"
          leftSection={<IconPlus size={14} />}
          onClick={add}
          style={{ justifySelf: "start" }}
        >
          Add a stage
        </Button>
      )}
    </div>
  );
}

interface RowProps {
  of: DraftStage;
  at: number;
  change: (c: Partial<DraftStage>) => void;
  remove?: () => void;
}

function StageRow({ of, at, change, remove }: RowProps) {
  const n = at + 1;
  const amount = (v: number | string) => (typeof v === "number" ? v : "");
  return (
    <li className="stage-row">
      <span className="rail-knot" aria-hidden>
        {n}
      </span>
      <div className="stage-fields">
        <div className="stage-who">
          {of.kind === "devices" ? (
            <TagsInput
              aria-label={`Stage ${n}: device ids`}
              placeholder={of.devices.length ? "" : "device ids"}
              value={of.devices}
              onChange={(devices) => change({ devices })}
              acceptValueOnBlur
            />
          ) : (
            <NumberInput
              aria-label={`Stage ${n}: how many`}
              min={1}
              {...(of.kind === "percent" ? { max: 100 } : {})}
              allowDecimal={false}
              value={of.amount}
              onChange={(v) => change({ amount: amount(v) })}
            />
          )}
          <Select
            aria-label={`Stage ${n}: counted in`}
            data={kinds}
            value={of.kind}
            allowDeselect={false}
            onChange={(kind) =>
              kind &&
              change({
                kind: kind as DraftStage["kind"],
                amount: of.amount === "" ? 1 : Math.min(of.amount, kind === "percent" ? 100 : of.amount),
              })
            }
          />
        </div>
        <div className="stage-gate">
          <span className="faint">then, when</span>
          <NumberInput
            aria-label={`Stage ${n}: percent that must succeed`}
            size="xs"
            w={76}
            min={1}
            max={100}
            suffix=" %"
            allowDecimal={false}
            value={of.success}
            onChange={(v) => change({ success: amount(v) })}
          />
          <span className="faint">succeeded, watch</span>
          <NumberInput
            aria-label={`Stage ${n}: minutes to watch`}
            size="xs"
            w={92}
            min={0}
            suffix=" min"
            value={of.soakMinutes}
            onChange={(v) => change({ soakMinutes: amount(v) })}
          />
          <Switch
            size="xs"
            label="ask a person"
            aria-label={`Stage ${n}: a person must promote`}
            checked={of.approval}
            onChange={(e) => change({ approval: e.currentTarget.checked })}
          />
        </div>
      </div>
      {remove && (
        <ActionIcon variant="subtle" aria-label={`Remove stage ${n}`} onClick={remove}>
          <IconTrash size={16} />
        </ActionIcon>
      )}
    </li>
  );
}
