import { Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { Concern } from "../../parts/Concern";
import { LinkMark } from "../../parts/LinkMark";
import { Neighbor, Neighbors } from "../../parts/Neighbor";
import { deed, nextStep, often } from "../../parts/offence";
import { Card } from "../../parts/Page";
import { When } from "../../parts/When";

/** The device among its neighbours: its site, its link, whom it does not reach, and what it says of others. */
export function AtSite({ of }: { of: Schemas["Device"] }) {
  const lost = of.isolated_from ?? [];
  const said = of.offences ?? [];
  const limits = of.limits ?? [];
  return (
    <Card title="Among its neighbours">
      <div className="stack">
        <dl className="facts">
          <dt>Site</dt>
          <dd>
            {of.site ? (
              <Link to="/sites/$id" params={{ id: of.site }}>
                {siteName(of)}
              </Link>
            ) : (
              <span className="faint">not known: it has not reported, or its address is hidden</span>
            )}
          </dd>
          <dt>Link</dt>
          <dd>
            <LinkMark of={of.link} />
          </dd>
          <dt>Neighbours</dt>
          <dd>
            {of.neighbors === undefined ? <span className="faint">unknown</span> : `${of.neighbors} in sight`}
          </dd>
          {of.apart && (
            <>
              <dt>Takes no part</dt>
              <dd>{of.apart}</dd>
            </>
          )}
        </dl>
        {limits.map((l) => (
          <Concern
            key={l.of}
            head={
              <>
                A limit of its configuration holds back {limited(l.of)}. It ends <When at={l.until} />.
              </>
            }
          >
            It says: {l.detail}. Meanwhile neighbours do its part. <code>limits</code> in its{" "}
            <code>agent.json</code> bounds it.
          </Concern>
        ))}
        {lost.length > 0 && (
          <Concern
            head={
              <>
                It could not reach <Neighbors ids={lost} /> lately, and had from the server what{" "}
                {lost.length === 1 ? "that one holds" : "those hold"}.
              </>
            }
          >
            Let them talk over TCP: look for client isolation of the access point, separate VLANs, and
            firewalls. <code>waxwing-agent status</code> on the device shows where it listens.
          </Concern>
        )}
        {said.length > 0 && (
          <div>
            <h3 className="sub">
              What it says of neighbours <span className="faint">accusations of the last day, no proof</span>
            </h3>
            <ul className="accusations">
              {said.map((o) => (
                <li key={`${o.neighbor} ${o.kind}`}>
                  <p>
                    <Neighbor id={o.neighbor} /> {deed(o.kind)}, {often(o.count)}, last <When at={o.last} />.
                  </p>
                  <p className="soft">{nextStep(o.kind)}</p>
                </li>
              ))}
            </ul>
          </div>
        )}
      </div>
    </Card>
  );
}

/** A site by label has its own name; one by address is named by the address that the server saw. */
const siteName = (of: Schemas["Device"]): string => of.labels.site ?? of.site?.replace(/^at-/, "") ?? "";

/** What a limit holds back; a device may say others than these. */
const limited = (of: string): string =>
  ({ uplink: "what it fetches from the server", lan: "what it gives to neighbours" })[of] ?? of;
