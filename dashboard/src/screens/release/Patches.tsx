import { Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { bytes, many, number } from "../../parts/format";
import { Mark } from "../../parts/Mark";
import { Card } from "../../parts/Page";

/** What a device fetches that comes from an earlier release: patches, which the server makes by itself, or whole chunks. */
export function Patches({ of }: { of: Schemas["Release"] }) {
  const items = of.patches ?? [];
  return (
    <Card title="Patches" flush aside={<Whole of={of} />}>
      {items.length === 0 ? (
        <p className="empty">
          {of.state === "published"
            ? "None. Devices fetch the chunks that they lack."
            : "The server makes them once the release is published."}
        </p>
      ) : (
        <div className="table-wrap">
          <table className="table">
            <thead>
              <tr>
                <th scope="col">From</th>
                <th scope="col">State</th>
                <th scope="col" className="right">
                  Update
                </th>
                <th scope="col" className="right wide">
                  Of which index
                </th>
                <th scope="col" className="right wide">
                  Chunks
                </th>
                <th scope="col" className="right">
                  Devices
                </th>
              </tr>
            </thead>
            <tbody>
              {items.map((p) => (
                <Row key={p.base} product={of.product} of={p} />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Card>
  );
}

function Row({ product, of }: { product: string; of: Schemas["Patches"] }) {
  const ready = of.state === "ready";
  return (
    <tr>
      <td className="main">
        <Link to="/releases/$product/$version" params={{ product, version: of.base }}>
          {of.base}
        </Link>
      </td>
      <td>
        <State of={of} />
      </td>
      <td className="right">{ready ? bytes(of.bytes) : "–"}</td>
      <td className="right wide">{ready ? bytes(of.index_bytes) : "–"}</td>
      <td className="right wide">{ready ? number(of.chunks) : "–"}</td>
      <td className="right">{of.devices === undefined ? "–" : number(of.devices)}</td>
    </tr>
  );
}

function State({ of }: { of: Schemas["Patches"] }) {
  switch (of.state) {
    case "ready":
      return <Mark of="published" word="Ready" />;
    case "waiting":
      return <Mark of="waiting" word="Waiting its turn" />;
    case "building": {
      const { done, total } = of.progress;
      return (
        <Mark
          of="building"
          word={total > 0 ? `Building, ${Math.floor((100 * done) / total)} %` : "Building"}
        />
      );
    }
    case "failed":
      return (
        <>
          <Mark of="failed" />
          <div className="faint">{of.error}</div>
        </>
      );
  }
}

/** What the release costs without patches, to compare with. */
function Whole({ of: { state, size } }: { of: Schemas["Release"] }) {
  if (state !== "published" && state !== "yanked") return null;
  return (
    <span title={`in ${many(size.chunks, "chunk")}`}>
      <span className="num">{bytes(size.new_chunks)}</span> of new chunks without them
    </span>
  );
}
