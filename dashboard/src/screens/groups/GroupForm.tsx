import { Button, Modal, NumberInput, Group as Row, Switch, TextInput } from "@mantine/core";
import { useDebouncedValue } from "@mantine/hooks";
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, read, type Schemas } from "../../api/client";
import { keysFor } from "../../api/keys";
import { devices } from "../../api/queries";
import { many } from "../../parts/format";
import { Trouble } from "../../parts/Trouble";

/** Makes or changes a group. While the selector is typed, the server says how many devices it picks. */
export function GroupForm({ of, onClose }: { of: Schemas["Group"] | null; onClose: () => void }) {
  const [name, setName] = useState(of?.name ?? "");
  const [selector, setSelector] = useState(of?.selector ?? "");
  const [priority, setPriority] = useState<number | "">(of?.priority ?? 0);
  const [force, setForce] = useState(false);
  const client = useQueryClient();
  const put = useMutation({
    mutationFn: () =>
      read(
        api.PUT("/groups/{id}", {
          params: { path: { id: name.trim() }, query: force ? { force } : {} },
          body: { selector: selector.trim(), priority: priority === "" ? 0 : priority },
        }),
      ),
    onSuccess: (g) => {
      for (const queryKey of keysFor({ kind: "group", id: g.name }))
        void client.invalidateQueries({ queryKey });
      onClose();
    },
  });
  return (
    <Modal
      opened
      onClose={onClose}
      title={<b>{of ? `Group ${of.name}` : "New group"}</b>}
      closeButtonProps={{ "aria-label": "Close" }}
    >
      <form
        className="stack"
        onSubmit={(e) => {
          e.preventDefault();
          put.mutate();
        }}
      >
        <TextInput
          label="Name"
          placeholder="north"
          value={name}
          onChange={(e) => setName(e.currentTarget.value)}
          maxLength={64}
          required
          disabled={of !== null}
          data-autofocus={of === null}
        />
        <TextInput
          label="Selector"
          description="Terms joined by commas, all of which must hold: site=north, hardware in (rpi4, rpi5), !lab"
          classNames={{ input: "mono" }}
          value={selector}
          onChange={(e) => setSelector(e.currentTarget.value)}
          maxLength={1024}
        />
        <Matches selector={selector.trim()} />
        <NumberInput
          label="Priority"
          description="A device in several groups follows the highest."
          min={0}
          max={1000}
          allowDecimal={false}
          value={priority}
          onChange={(v) => setPriority(typeof v === "number" ? v : "")}
        />
        {put.error && (
          <>
            <Trouble error={put.error} />
            <Switch
              label="Save it also when no device carries such a label yet"
              checked={force}
              onChange={(e) => setForce(e.currentTarget.checked)}
            />
          </>
        )}
        <Row justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Leave it
          </Button>
          <Button type="submit" loading={put.isPending} disabled={!name.trim()}>
            Save
          </Button>
        </Row>
      </form>
    </Modal>
  );
}

function Matches({ selector }: { selector: string }) {
  const [settled] = useDebouncedValue(selector, 250);
  const { data, error, isPlaceholderData } = useQuery({
    ...devices({ filter: settled, size: 5 }),
    retry: false,
  });
  if (error) return <p className="tone-bad">{error.message}</p>;
  if (!data) return <p className="faint">Counting…</p>;
  return (
    <p className={isPlaceholderData || settled !== selector ? "faint" : "soft"}>
      Picks <b className="num">{many(data.total, "device")}</b>
      {data.items.length > 0 &&
        `: ${data.items.map((d) => d.id).join(", ")}${data.total > data.items.length ? ", …" : ""}`}
    </p>
  );
}
