import { Button, CloseButton, TextInput } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, read, type Schemas } from "../../api/client";
import { keys, keysFor } from "../../api/keys";
import { useSay } from "../../parts/Say";
import { term } from "../../parts/selector";
import { useMay } from "../../shell/session";

/** A device's labels; groups follow from them. */
export function LabelEditor({ of }: { of: Schemas["Device"] }) {
  const may = useMay("device");
  const [text, setText] = useState("");
  const client = useQueryClient();
  const say = useSay();
  const change = useMutation({
    mutationFn: (labels: Record<string, string | null>) =>
      read(api.PATCH("/devices/{id}", { params: { path: { id: of.id } }, body: { labels } })),
    onSuccess: (d) => {
      setText("");
      client.setQueryData(keys.device(of.id), d);
      for (const queryKey of keysFor({ kind: "device", id: of.id }))
        void client.invalidateQueries({ queryKey });
    },
    onError: say.failed,
  });
  const labels = Object.entries(of.labels).sort();
  const [, key, value] = /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(text) ?? [];
  return (
    <div className="stack">
      {labels.length === 0 && <p className="soft">No labels yet.</p>}
      <div className="tags">
        {labels.map(([k, v]) => (
          <span key={k} className="tag">
            <Link to="/devices" search={{ filter: term(k, v) }}>
              {k}={v}
            </Link>
            {may && (
              <CloseButton
                size="xs"
                aria-label={`Remove the label ${k}`}
                onClick={() => change.mutate({ [k]: null })}
              />
            )}
          </span>
        ))}
      </div>
      {may && (
        <form
          className="row"
          onSubmit={(e) => {
            e.preventDefault();
            if (key) change.mutate({ [key]: value ?? "" });
          }}
        >
          <TextInput
            aria-label="New label"
            placeholder="site=north"
            size="xs"
            value={text}
            onChange={(e) => setText(e.currentTarget.value)}
          />
          <Button type="submit" size="xs" variant="default" disabled={!key} loading={change.isPending}>
            Set label
          </Button>
        </form>
      )}
    </div>
  );
}
