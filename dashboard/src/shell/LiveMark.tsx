import { Tooltip } from "@mantine/core";
import { clock } from "../parts/format";
import { useLiveness } from "./live";

/** Whether what is on the screen is what is true. */
export function LiveMark() {
  const { status, asOf } = useLiveness();
  const words = {
    connecting: ["Connecting", "The page is about to follow the server."],
    live: ["Live", "Changes show here within a second."],
    reconnecting: ["Reconnecting", "The stream of changes was cut; it is being opened again."],
    stale: [
      asOf ? `As of ${clock(asOf)}` : "Not connected",
      "The stream of changes is away. The page asks every 30 seconds until it is back.",
    ],
  } as const;
  const [word, note] = words[status];
  return (
    <Tooltip label={note} multiline w={240} events={{ hover: true, focus: true, touch: true }}>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the explanation is for the keyboard too */}
      <span className={`live live-${status}`} tabIndex={0}>
        <i aria-hidden />
        {word}
      </span>
    </Tooltip>
  );
}
