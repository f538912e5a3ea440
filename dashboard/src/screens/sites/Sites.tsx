import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { sites } from "../../api/queries";
import { SourceBar } from "../../parts/Bytes";
import { bytes, many, number } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Mark } from "../../parts/Mark";
import { Card, Empty, Page } from "../../parts/Page";
import { Pager } from "../../parts/Pager";
import { carriedBy, factor, moved, times } from "../../parts/saved";
import "./sites.css";

const route = getRouteApi("/sites");

/** The places where devices share an uplink, and what that saved each. */
export function Sites() {
  const { page } = route.useSearch();
  const query = useQuery(sites(page));
  return (
    <Page
      title="Sites"
      lead="A site is the devices that share one uplink: those with the same label site, else behind one public address. They pass on what one of them fetched."
    >
      <Card flush>
        <div className="card-pad">
          <Loaded of={query} lines={6}>
            {(list) =>
              list.items.length === 0 ? (
                <Empty>
                  No site yet: none is known before a device has reported.
                  <br />
                  <Link to="/tokens" className="go">
                    Make an enrolment token
                  </Link>
                </Empty>
              ) : (
                <>
                  <Table items={list.items} old={query.isPlaceholderData} />
                  <Pager next={list.next_page_token} />
                </>
              )
            }
          </Loaded>
        </div>
      </Card>
    </Page>
  );
}

function Table({ items, old }: { items: Schemas["Site"][]; old: boolean }) {
  const most = Math.max(0, ...items.map((s) => s.bytes.origin + s.bytes.peers));
  return (
    <div className="table-wrap">
      <table className={old ? "table table-old" : "table"}>
        <thead>
          <tr>
            <th scope="col">Site</th>
            <th scope="col" className="right">
              Online
            </th>
            <th scope="col" className="right wide">
              Sharing
            </th>
            <th scope="col" className="right wide">
              Isolated
            </th>
            <th scope="col" className="site-moved wide">
              Last updates
            </th>
            <th scope="col" className="right">
              Saved
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((s) => (
            <tr key={s.id}>
              <td className="main site-name">
                <Link to="/sites/$id" params={{ id: s.id }}>
                  {s.name}
                </Link>
                <Moving of={s} />
                <div className="narrow">
                  <Moved of={s} most={most} />
                </div>
              </td>
              <td className="right nowrap">
                <Link to="/sites/$id" params={{ id: s.id }} search={{ show: "online" }}>
                  {number(s.online)} <span className="faint">of {number(s.devices)}</span>
                </Link>
              </td>
              <td className="right wide">
                <Count of={s} show="sharing" n={s.sharing} />
              </td>
              <td className="right wide">
                <Count of={s} show="isolated" n={s.isolated} />
              </td>
              <td className="site-moved wide">
                <Moved of={s} most={most} />
              </td>
              <td className="right nowrap">
                <Saved of={s} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** What a site carried: a bar of one scale, and a sentence. */
function Moved({ of, most }: { of: Schemas["Site"]; most: number }) {
  return (
    <>
      {of.measured > 0 && of.bytes.origin + of.bytes.peers > 0 && (
        <SourceBar of={of.bytes} most={most} label={`Moved at ${of.name}`} reused={false} />
      )}
      <span className="faint">{moved(carriedBy(of))}</span>
    </>
  );
}

/** What the devices of a site are at, when they are at something. */
function Moving({ of }: { of: Schemas["Site"] }) {
  const now = of.updates.find((u) => u.moving > 0);
  if (!now) return of.crowded ? <Mark of="failed" word="Too many devices" /> : null;
  return (
    <div className="faint">
      <Mark of="downloading" word={`${many(now.moving, "device")} on the way to ${now.version}`} />
    </div>
  );
}

/** A count that leads to exactly its devices; nothing to see where there are none. */
function Count({ of, show, n }: { of: Schemas["Site"]; show: Schemas["SiteShow"]; n: number }) {
  if (n === 0) return <span className="faint">0</span>;
  return (
    <Link to="/sites/$id" params={{ id: of.id }} search={{ show }}>
      {number(n)}
    </Link>
  );
}

function Saved({ of }: { of: Schemas["Site"] }) {
  const f = factor(carriedBy(of));
  if (of.measured === 0) return <span className="faint">–</span>;
  return (
    <>
      <b className="num">{bytes(Math.max(0, of.saved))}</b>
      {f !== undefined && f >= 1.05 && <div className="faint">{times(f)} less</div>}
    </>
  );
}
