import {
  Button,
  Group,
  Modal,
  NumberInput,
  SegmentedControl,
  Select,
  Switch,
  TagsInput,
  TextInput,
} from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, read, type Schemas } from "../../api/client";
import { keys } from "../../api/keys";
import { CopyLine } from "../../parts/CopyLine";
import { Trouble } from "../../parts/Trouble";

const lives = [
  { value: "3600", label: "1 hour" },
  { value: "86400", label: "1 day" },
  { value: "604800", label: "7 days" },
  { value: "2592000", label: "30 days" },
  { value: "7776000", label: "90 days" },
];
const scopes = ["read", "release", "rollout", "device", "admin"] as const;

/** Makes a token and shows its secret, this once, inside the command that uses it. */
export function TokenForm({ onClose }: { onClose: () => void }) {
  const client = useQueryClient();
  const [kind, setKind] = useState<"enroll" | "operator">("enroll");
  const [note, setNote] = useState("");
  const [life, setLife] = useState("86400");
  const [uses, setUses] = useState<number | "">("");
  const [labels, setLabels] = useState<string[]>([]);
  const [approve, setApprove] = useState(false);
  const [scope, setScope] = useState<Schemas["Scope"]>("read");
  const make = useMutation({
    mutationFn: () => {
      const common = { kind, ttl_seconds: Number(life), ...(note.trim() ? { note: note.trim() } : {}) };
      if (kind === "operator")
        return read(api.POST("/tokens", { body: { ...common, scopes: [scope], approve: false } }));
      const limits = {
        ...(uses === "" ? {} : { uses }),
        ...(labels.length ? { labels: pairs(labels) } : {}),
      };
      return read(api.POST("/tokens", { body: { ...common, ...limits, approve } }));
    },
    onSuccess: () => {
      void client.invalidateQueries({ queryKey: keys.tokens });
      void client.invalidateQueries({ queryKey: keys.audit });
    },
  });
  if (make.data) return <Made of={make.data} onClose={onClose} />;
  return (
    <Modal opened onClose={onClose} title={<b>New token</b>} closeButtonProps={{ "aria-label": "Close" }}>
      <form
        className="stack"
        onSubmit={(e) => {
          e.preventDefault();
          make.mutate();
        }}
      >
        <SegmentedControl
          aria-label="For whom"
          value={kind}
          onChange={(v) => setKind(v as "enroll" | "operator")}
          data={[
            { value: "enroll", label: "Devices that enrol" },
            { value: "operator", label: "A person or program" },
          ]}
        />
        <TextInput
          label="Note"
          placeholder="north shop floor"
          maxLength={128}
          value={note}
          onChange={(e) => setNote(e.currentTarget.value)}
        />
        <Select
          label="Expires in"
          data={lives}
          value={life}
          allowDeselect={false}
          onChange={(v) => v && setLife(v)}
        />
        {kind === "enroll" ? (
          <>
            <NumberInput
              label="Devices"
              description="Empty: any number until it expires."
              min={1}
              allowDecimal={false}
              value={uses}
              onChange={(v) => setUses(typeof v === "number" ? v : "")}
            />
            <TagsInput
              label="Labels that they get"
              placeholder={labels.length ? "" : "site=north"}
              value={labels}
              onChange={(all) => setLabels(all.filter((l) => /^[^=\s]+=/.test(l)))}
              acceptValueOnBlur
            />
            <Switch
              label="A person must accept each device"
              checked={approve}
              onChange={(e) => setApprove(e.currentTarget.checked)}
            />
          </>
        ) : (
          <Select
            label="May"
            data={[...scopes]}
            value={scope}
            allowDeselect={false}
            onChange={(v) => v && setScope(v as Schemas["Scope"])}
          />
        )}
        {make.error && <Trouble error={make.error} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Leave it
          </Button>
          <Button type="submit" loading={make.isPending}>
            Make token
          </Button>
        </Group>
      </form>
    </Modal>
  );
}

function Made({ of, onClose }: { of: Schemas["CreatedToken"]; onClose: () => void }) {
  return (
    <Modal
      opened
      onClose={onClose}
      size="lg"
      title={<b>The token is made</b>}
      closeButtonProps={{ "aria-label": "Close" }}
      closeOnClickOutside={false}
    >
      <div className="stack">
        <p>Its secret is shown this once and kept nowhere.</p>
        <CopyLine text={of.secret} label="the secret" />
        {of.command && (
          <>
            <p>{of.token.kind === "enroll" ? "Run this on each device:" : "Run this to sign in:"}</p>
            <CopyLine text={of.command} label="the command" />
          </>
        )}
        <Group justify="flex-end">
          <Button onClick={onClose}>Done</Button>
        </Group>
      </div>
    </Modal>
  );
}

const pairs = (labels: string[]): Record<string, string> =>
  Object.fromEntries(
    labels.map((l) => [l.slice(0, l.indexOf("=")).trim(), l.slice(l.indexOf("=") + 1).trim()]),
  );
