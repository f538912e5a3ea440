import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { overview } from "../../api/queries";
import { Bytes } from "../../parts/Bytes";
import { bytes, number } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Mark } from "../../parts/Mark";
import { Card, Empty, Page } from "../../parts/Page";
import { RolloutLine } from "../../parts/RolloutLine";
import { NeedsYou } from "./NeedsYou";
import { Versions } from "./Versions";
import "./overview.css";

/** The first screen: what waits for a person, what moves, and how the fleet is. */
export function Overview() {
  const query = useQuery(overview());
  return (
    <Page title="Overview">
      <Loaded of={query} lines={8}>
        {(o) => (
          <>
            <Figures of={o} />
            <div className="columns">
              <div>
                <NeedsYou items={o.needs_you} />
                <Card title="Rollouts under way" aside={<Link to="/rollouts">All rollouts</Link>}>
                  {o.active_rollouts.length === 0 ? (
                    <p className="soft">Nothing moves just now.</p>
                  ) : (
                    <ul className="stack">
                      {o.active_rollouts.map((r) => (
                        <RolloutLine key={r.id} of={r} />
                      ))}
                    </ul>
                  )}
                </Card>
                <Card title="What the fleet runs">
                  {o.devices === 0 ? <NoDevices /> : <Versions items={o.versions} />}
                </Card>
              </div>
              <div>
                <Card title="Where the bytes came from">
                  <Bytes of={o.bytes} label="Bytes of the last updates" />
                  <p className="faint note">The last update of each device, summed.</p>
                </Card>
                <Phases of={o.phases} />
              </div>
            </div>
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Figures({ of }: { of: Schemas["Overview"] }) {
  return (
    <ul className="figures">
      <li>
        <Link to="/devices">
          <b className="stat">{number(of.devices)}</b> devices
        </Link>
      </li>
      <li>
        <Link to="/devices" search={{ filter: "online=true" }}>
          <b className="stat">{number(of.online)}</b> online
        </Link>
      </li>
      <li>
        <Link to="/rollouts">
          <b className="stat">{number(of.active_rollouts.length)}</b> rollouts under way
        </Link>
      </li>
      <li>
        <Link to="/sites">
          <b className="stat">{bytes(of.bytes.peers)}</b> from neighbours
        </Link>
      </li>
    </ul>
  );
}

function Phases({ of }: { of: Schemas["Overview"]["phases"] }) {
  const phases = Object.entries(of).filter(([, n]) => n > 0);
  if (phases.length === 0) return null;
  return (
    <Card title="What devices are doing">
      <ul className="phases">
        {phases.map(([phase, n]) => (
          <li key={phase}>
            <Link to="/devices" search={{ filter: `phase=${phase}` }}>
              <Mark of={phase} />
              <b className="num">{number(n)}</b>
            </Link>
          </li>
        ))}
      </ul>
    </Card>
  );
}

function NoDevices() {
  return (
    <Empty>
      No device has enrolled yet.
      <br />
      <Link to="/tokens" className="go">
        Make an enrolment token
      </Link>
    </Empty>
  );
}
