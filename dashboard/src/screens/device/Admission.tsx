import { Button } from "@mantine/core";
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, read, type Schemas } from "../../api/client";
import { keysFor } from "../../api/keys";
import { Confirm } from "../../parts/Confirm";
import { useSay } from "../../parts/Say";
import { useMay } from "../../shell/session";

/** Lets a device in or shuts it out. */
export function Admission({ of }: { of: Schemas["Device"] }) {
  const may = useMay("device");
  const [asking, setAsking] = useState(false);
  const client = useQueryClient();
  const say = useSay();
  const decide = useMutation({
    mutationFn: (verb: "accept" | "reject") =>
      read(api.POST(`/devices/{id}/${verb}`, { params: { path: { id: of.id } } })),
    onSuccess: (_, verb) => {
      setAsking(false);
      say.done(verb === "accept" ? `${of.id} is in the fleet.` : `${of.id} is shut out.`);
      for (const queryKey of keysFor({ kind: "device", id: of.id }))
        void client.invalidateQueries({ queryKey });
    },
    onError: say.failed,
  });
  if (!may) return null;
  return (
    <>
      {of.admission !== "accepted" && (
        <Button onClick={() => decide.mutate("accept")} loading={decide.isPending}>
          Accept
        </Button>
      )}
      {of.admission !== "rejected" && (
        <Button variant="default" onClick={() => setAsking(true)}>
          Reject
        </Button>
      )}
      {asking && (
        <Confirm
          title={`Shut out ${of.id}?`}
          verb="Reject"
          danger
          busy={decide.isPending}
          onClose={() => setAsking(false)}
          onYes={() => decide.mutate("reject")}
        >
          Its certificate is refused at once: it gets no policy and no chunk until somebody accepts it again.
        </Confirm>
      )}
    </>
  );
}
