import { Button } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { releases } from "../../api/queries";
import { bytes, number } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Mark } from "../../parts/Mark";
import { Card, Empty, Page } from "../../parts/Page";
import { Pager } from "../../parts/Pager";
import { term } from "../../parts/selector";
import { When } from "../../parts/When";
import { useMay } from "../../shell/session";

const route = getRouteApi("/releases");

/** What can be rolled out. */
export function Releases() {
  const { page, product } = route.useSearch();
  const query = useQuery(releases(page, product));
  const may = useMay("release");
  const make = may && (
    <Button component={Link} to="/releases/new" leftSection={<IconPlus size={16} />}>
      New release
    </Button>
  );
  return (
    <Page
      title="Releases"
      lead="Signed images, cut into chunks. A device takes only what both the repository and its policy name."
      actions={make}
    >
      <Card flush>
        <div className="card-pad">
          <Loaded of={query} lines={6}>
            {(list) =>
              list.items.length === 0 ? (
                <Empty>No release yet. Drop an image to make the first one.</Empty>
              ) : (
                <>
                  <ReleaseTable items={list.items} old={query.isPlaceholderData} />
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

function ReleaseTable({ items, old }: { items: Schemas["Release"][]; old: boolean }) {
  return (
    <div className="table-wrap">
      <table className={old ? "table table-old" : "table"}>
        <thead>
          <tr>
            <th scope="col">Release</th>
            <th scope="col">State</th>
            <th scope="col" className="right">
              Devices on it
            </th>
            <th scope="col" className="right wide">
              Image
            </th>
            <th scope="col" className="right wide">
              New chunks
            </th>
            <th scope="col" className="wide">
              Hardware
            </th>
            <th scope="col" className="wide">
              Made
            </th>
          </tr>
        </thead>
        <tbody>
          {items.map((r) => (
            <tr key={`${r.product}/${r.version}`}>
              <td className="main">
                <Link to="/releases/$product/$version" params={{ product: r.product, version: r.version }}>
                  {r.product} {r.version}
                </Link>
              </td>
              <td>
                <Mark of={r.state} />
              </td>
              <td className="right">
                <DevicesOn of={r} />
              </td>
              <td className="right wide">{r.size.payload ? bytes(r.size.payload) : "–"}</td>
              <td className="right wide">{r.state === "published" ? bytes(r.size.new_chunks) : "–"}</td>
              <td className="wide">{r.hardware?.join(", ") ?? "–"}</td>
              <td className="wide">
                <When at={r.created_at} /> <span className="faint">by {r.created_by}</span>
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** How many devices run a release, as the way to them. */
export function DevicesOn({ of }: { of: Schemas["Release"] }) {
  if (of.devices === undefined) return <span className="faint">unknown</span>;
  return (
    <Link to="/devices" search={{ filter: `${term("product", of.product)}, ${term("version", of.version)}` }}>
      {number(of.devices)}
    </Link>
  );
}
