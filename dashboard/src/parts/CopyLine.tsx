import { ActionIcon, Tooltip } from "@mantine/core";
import { useClipboard } from "@mantine/hooks";
import { IconCheck, IconCopy } from "@tabler/icons-react";

/** Text to take along, such as a command. */
export function CopyLine({ text, label }: { text: string; label: string }) {
  const clipboard = useClipboard({ timeout: 2000 });
  return (
    <div className="copy-line">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a long line scrolls, also by keyboard */}
      <code tabIndex={0}>{text}</code>
      <Tooltip label={clipboard.copied ? "Copied" : "Copy"}>
        <ActionIcon variant="subtle" aria-label={`Copy ${label}`} onClick={() => clipboard.copy(text)}>
          {clipboard.copied ? <IconCheck size={16} /> : <IconCopy size={16} />}
        </ActionIcon>
      </Tooltip>
    </div>
  );
}
