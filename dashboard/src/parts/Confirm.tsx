import { Button, Group, Modal, Textarea } from "@mantine/core";
import { type ReactNode, useState } from "react";

/** Asks before something that is hard to take back: what it does to how many, and why. */
export function Confirm({
  title,
  verb,
  danger,
  reason,
  children,
  busy,
  onClose,
  onYes,
}: {
  title: string;
  verb: string;
  danger?: boolean;
  reason?: boolean;
  children: ReactNode;
  busy: boolean;
  onClose: () => void;
  onYes: (reason: string) => void;
}) {
  const [why, setWhy] = useState("");
  return (
    <Modal opened onClose={onClose} title={<b>{title}</b>} closeButtonProps={{ "aria-label": "Close" }}>
      <form
        className="stack"
        onSubmit={(e) => {
          e.preventDefault();
          onYes(why.trim());
        }}
      >
        <div>{children}</div>
        {reason && (
          <Textarea
            label="Reason"
            description="It goes into the activity log."
            value={why}
            onChange={(e) => setWhy(e.currentTarget.value)}
            maxLength={256}
            required
            data-autofocus
            autosize={false}
            rows={2}
          />
        )}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>
            Leave it
          </Button>
          <Button
            type="submit"
            loading={busy}
            {...(danger ? { color: "wax" } : {})}
            disabled={reason === true && !why.trim()}
          >
            {verb}
          </Button>
        </Group>
      </form>
    </Modal>
  );
}
