import type { Schemas } from "../../api/client";
import { bytes } from "../../parts/format";
import { Card } from "../../parts/Page";

/** How far the server is with cutting and signing an image, or why it gave up. */
export function Building({ of }: { of: Schemas["Release"] }) {
  if (of.state === "failed") {
    return (
      <Card title="It could not be built">
        <div className="reason">{of.error || "The server gave no reason; its log has one."}</div>
      </Card>
    );
  }
  const { done, total } = of.progress;
  return (
    <Card
      title="The server cuts the image into chunks and signs it"
      aside={
        <span className="num">
          {bytes(done)} of {bytes(total)}
        </span>
      }
    >
      <progress className="meter" value={done} max={Math.max(total, 1)} aria-label="Built" />
    </Card>
  );
}
