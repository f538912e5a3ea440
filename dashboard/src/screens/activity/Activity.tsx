import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { audit } from "../../api/queries";
import { Loaded } from "../../parts/Loaded";
import { Card, Empty, Page } from "../../parts/Page";
import { Pager } from "../../parts/Pager";
import { When } from "../../parts/When";

const route = getRouteApi("/activity");

/** Who did what, newest first. Nothing can be taken out of it. */
export function Activity() {
  const { page } = route.useSearch();
  const query = useQuery(audit(page));
  return (
    <Page title="Activity" lead="Every change that a person or a program made through this server.">
      <Card flush>
        <div className="card-pad">
          <Loaded of={query} lines={8}>
            {(list) =>
              list.items.length === 0 ? (
                <Empty>Nothing has been done yet.</Empty>
              ) : (
                <>
                  <div className="table-wrap">
                    <table className={query.isPlaceholderData ? "table table-old" : "table"}>
                      <thead>
                        <tr>
                          <th scope="col">When</th>
                          <th scope="col">Who</th>
                          <th scope="col">Did</th>
                          <th scope="col">To</th>
                          <th scope="col" className="wide">
                            Detail
                          </th>
                        </tr>
                      </thead>
                      <tbody>
                        {list.items.map((e) => (
                          <tr key={e.id}>
                            <td>
                              <When at={e.at} />
                            </td>
                            <td>{e.actor}</td>
                            <td>
                              <code>{e.action}</code>
                            </td>
                            <td>
                              <Subject of={e} />
                            </td>
                            <td className="wide soft">{e.detail}</td>
                          </tr>
                        ))}
                      </tbody>
                    </table>
                  </div>
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

/** What it was done to, as the way there when there is one. */
function Subject({ of }: { of: Schemas["AuditEntry"] }) {
  const kind = of.action.split(".")[0];
  if (kind === "device") {
    return (
      <Link to="/devices/$id" params={{ id: of.subject }}>
        {of.subject}
      </Link>
    );
  }
  if (kind === "rollout") {
    return (
      <Link to="/rollouts/$id" params={{ id: of.subject }} className="mono">
        {of.subject}
      </Link>
    );
  }
  const [product, version] = of.subject.split("/");
  if (kind === "release" && product && version) {
    return (
      <Link to="/releases/$product/$version" params={{ product, version }}>
        {of.subject}
      </Link>
    );
  }
  return <span className="mono">{of.subject}</span>;
}
