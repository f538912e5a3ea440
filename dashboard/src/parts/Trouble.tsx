import { Button } from "@mantine/core";
import { IconPlugConnectedX } from "@tabler/icons-react";
import { Problem } from "../api/client";

/** Why something is not shown, and a way to try again. */
export function Trouble({ error, again, whole }: { error: Error; again?: () => void; whole?: boolean }) {
  return (
    <div className={whole ? "trouble trouble-whole" : "trouble"} role="alert">
      <IconPlugConnectedX size={22} aria-hidden />
      <div>
        <strong>{error instanceof Problem ? error.title : "It cannot be shown"}</strong>
        <p className="soft">{error.message}</p>
        {again && (
          <Button size="xs" variant="light" mt={8} onClick={again}>
            Try again
          </Button>
        )}
      </div>
    </div>
  );
}
