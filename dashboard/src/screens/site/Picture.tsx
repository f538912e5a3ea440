import { useEffect, useState } from "react";
import type { Schemas } from "../../api/client";
import { bytes, many } from "../../parts/format";
import { Mark } from "../../parts/Mark";
import { Card } from "../../parts/Page";
import { type Carried, carriedBy, keep, moved, rate, type Sample, scale, verdict } from "../../parts/saved";

type Site = Schemas["Site"];
type Update = Schemas["SiteUpdate"];

/** What the newest update carried over the uplink and between neighbours, against what it would have without them. */
export function Picture({ of }: { of: Site }) {
  const [first, ...others] = of.updates;
  const now: Carried = first ?? carriedBy(of);
  const words = verdict(now);
  return (
    <Card
      title={first ? `${first.product} ${first.version} at this site` : "The last updates at this site"}
      aside={first && <Standing of={first} />}
    >
      <div className={now.devices > 0 ? "picture" : "picture-none"}>
        <p className="verdict">
          {words.head && <b className="stat">{words.head}</b>} <span className="soft">{words.tail}</span>
        </p>
        {now.devices > 0 && <Flows of={now} live={Boolean(first && first.moving > 0)} />}
      </div>
      {now.devices > 0 && <Reckoning of={now} />}
      {others.length > 0 && (
        <div className="earlier">
          <h3 className="sub">Also on devices here</h3>
          <ul className="stack-tight">
            {others.map((u) => (
              <li key={`${u.product} ${u.version}`}>
                <b>
                  {u.product} {u.version}
                </b>
                <span className="soft">{moved(u)}</span>
              </li>
            ))}
          </ul>
        </div>
      )}
    </Card>
  );
}

/** How far an update is at the site. */
function Standing({ of }: { of: Update }) {
  if (of.moving > 0)
    return <Mark of="downloading" word={`${of.moving} of ${many(of.devices, "device")} on the way`} />;
  if (of.committed === of.devices)
    return <Mark of="committed" word={`Committed on ${many(of.devices, "device")}`} />;
  return <Mark of="idle" word={`Committed on ${of.committed} of ${many(of.devices, "device")}`} />;
}

const flows = [
  { name: "origin", word: "Over the uplink", note: "from the server" },
  { name: "peers", word: "Between neighbours", note: "over the local network" },
] as const;

/** The flows of a site as bars of one scale, and what they run at while they run. */
function Flows({ of, live }: { of: Carried; live: boolean }) {
  const now = useRate(of.bytes, live);
  const { most, off } = scale(of);
  const width = (n: number) => ({ width: `${Math.min(100, (100 * n) / most)}%` });
  return (
    <dl className={live ? "flows flows-live" : "flows"}>
      {flows.map(({ name, word, note }) => (
        <div key={name} className="flow">
          <dt>
            {word}{" "}
            <span className="faint">
              {off && name === "peers" ? `${note}; longer than this scale` : note}
            </span>
          </dt>
          <dd className="num flow-sum">
            {bytes(of.bytes[name])}
            {live && now[name] > 0 && <span className="faint"> · {bytes(now[name])}/s</span>}
          </dd>
          <dd className={off && name === "peers" ? "flow-bar flow-off" : "flow-bar"} aria-hidden>
            <span className={`of-${name}`} style={width(of.bytes[name])} />
          </dd>
        </div>
      ))}
      <div className="flow">
        <dt>
          Had each fetched alone <span className="faint">all of it from the server</span>
        </dt>
        <dd className="num flow-sum">{bytes(of.alone)}</dd>
        <dd className="flow-bar" aria-hidden>
          <span className="of-alone" style={width(of.alone)} />
        </dd>
      </div>
    </dl>
  );
}

/** How the saving is computed. It is said once, where the number stands. */
function Reckoning({ of }: { of: Carried }) {
  return (
    <details className="reckoning">
      <summary>
        Saved {bytes(Math.max(0, of.saved))} = {bytes(of.alone)} alone − {bytes(of.bytes.origin)} uplink
      </summary>
      <p className="soft">
        A device alone would have fetched from the server what neighbours gave it. They give chunks plain, the
        server gives them compressed: so what they gave is counted as compressed as the release is, and never
        as more than the patches from what the device ran before, or the whole release, and 8 KiB of metadata.
        That is why bytes between neighbours can exceed what they saved. Doubts are counted low: after a
        restart of the server the smallest patches stand in for those of a device that had finished.
      </p>
    </details>
  );
}

/** Bytes a second while an update runs, from what the page has seen. */
function useRate({ origin, peers }: { origin: number; peers: number }, live: boolean) {
  const [samples, setSamples] = useState<Sample[]>([]);
  const [now, setNow] = useState(() => Date.now());
  useEffect(() => {
    const at = Date.now();
    setSamples((all) => keep(all, { at, origin, peers }));
    setNow(at);
  }, [origin, peers]);
  useEffect(() => {
    if (!live) return;
    const timer = setInterval(() => setNow(Date.now()), 1000);
    return () => clearInterval(timer);
  }, [live]);
  return rate(samples, now);
}
