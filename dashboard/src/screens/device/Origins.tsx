import type { Schemas } from "../../api/client";
import { Advice } from "../../parts/Advice";
import { many } from "../../parts/format";
import { Neighbor } from "../../parts/Neighbor";
import { Share, Shares } from "../../parts/Shares";
import { isLate, reason, type Told, told } from "../../parts/source";

const shown = 5; // neighbours; the others are folded

/** Who gave an update to the device: neighbours by name, the server by reason, and what to do where that is a symptom. */
export function Origins({ of }: { of: Schemas["Update"] }) {
  if (of.bytes.origin + of.bytes.peers === 0) return null;
  const all = told(of.sources, of.bytes);
  return (
    <div>
      <h3 className="sub">Where it came from</h3>
      {all ? (
        <div className="stack">
          <FromNeighbours of={all} />
          <FromServer of={all} />
        </div>
      ) : (
        <p className="soft">
          It does not say who gave it what: its agent is older, or no chunk has come yet. Newer agents name
          their neighbours, and why the server was asked.
        </p>
      )}
      {of.advice && (
        <div className="stack advice">
          <Advice items={of.advice} />
        </div>
      )}
    </div>
  );
}

function FromNeighbours({ of }: { of: Told }) {
  const { neighbours, others, most } = of;
  const row = (n: Told["neighbours"][number]) => (
    <Share key={n.device} of={n.bytes} most={most} colour="peers" note={many(n.chunks, "chunk")}>
      <Neighbor id={n.device} />
    </Share>
  );
  const unnamed = others.bytes > 0 && (
    <Share of={others.bytes} most={most} colour="peers" note={many(others.chunks, "chunk")}>
      Other neighbours, together
    </Share>
  );
  if (neighbours.length === 0 && !unnamed) return <p className="soft">No neighbour gave it anything.</p>;
  const more = neighbours.slice(shown);
  return (
    <div>
      <Shares label="From neighbours">
        {neighbours.slice(0, shown).map(row)}
        {more.length === 0 && unnamed}
      </Shares>
      {more.length > 0 && (
        <details className="more">
          <summary>{many(more.length, "more neighbour")}</summary>
          <Shares label="From other neighbours">
            {more.map(row)}
            {unnamed}
          </Shares>
        </details>
      )}
    </div>
  );
}

function FromServer({ of: { server, rest, most } }: { of: Told }) {
  return (
    <div>
      <h4 className="sub-small">From the server, because</h4>
      <Shares label="From the server, by reason">
        {server.map((s) => (
          <Share
            key={s.why ?? ""}
            of={s.bytes}
            most={most}
            colour={isLate(s.why) ? "late" : "origin"}
            note={many(s.chunks, "chunk")}
          >
            {reason(s.why)}
          </Share>
        ))}
        {rest > 0 && (
          <Share of={rest} most={most} colour="rest">
            Indexes and metadata, which prove it genuine and fresh
          </Share>
        )}
      </Shares>
    </div>
  );
}
