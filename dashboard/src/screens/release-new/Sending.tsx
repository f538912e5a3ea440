import { Button } from "@mantine/core";
import { IconCircleCheck, IconFile } from "@tabler/icons-react";
import { bytes } from "../../parts/format";
import type { Uploading } from "./useUpload";

/** How far an image is, measured by bytes that have left. */
export function Sending({ of }: { of: Uploading }) {
  const { file, state, sent, rate, trouble } = of;
  if (!file) return null;
  return (
    <div className="sending">
      <IconFile size={28} stroke={1.5} aria-hidden />
      <div className="sending-body">
        <div className="rail-head">
          <b>{file.name}</b>
          <span className="num soft">
            {state === "sent" ? (
              <span className="mark tone-good">
                <IconCircleCheck size={16} aria-hidden /> {bytes(file.size)} sent
              </span>
            ) : (
              `${bytes(sent)} of ${bytes(file.size)}`
            )}
          </span>
        </div>
        <progress className="meter" value={sent} max={Math.max(file.size, 1)} aria-label="Sent" />
        <div className="rail-head">
          <span className={state === "failed" ? "tone-bad" : "faint"}>
            {trouble ?? (state === "sending" && rate > 0 ? `${bytes(rate)}/s` : " ")}
          </span>
          <span className="row">
            {state === "failed" && (
              <Button size="compact-sm" onClick={of.again}>
                Go on
              </Button>
            )}
            <Button size="compact-sm" variant="default" onClick={of.drop}>
              {state === "sending" ? "Stop" : "Another file"}
            </Button>
          </span>
        </div>
      </div>
    </div>
  );
}
