import { Button } from "@mantine/core";
import { IconPlus } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { rollouts } from "../../api/queries";
import { number } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Card, Empty, Page } from "../../parts/Page";
import { Pager } from "../../parts/Pager";
import { RolloutMark } from "../../parts/RolloutLine";
import { StatusBar } from "../../parts/StatusBar";
import { When } from "../../parts/When";
import { useMay } from "../../shell/session";

const route = getRouteApi("/rollouts");

/** All walks of releases through the fleet, newest first. */
export function Rollouts() {
  const { page } = route.useSearch();
  const query = useQuery(rollouts(page));
  const may = useMay("rollout");
  return (
    <Page
      title="Rollouts"
      lead="A release walks through a group in stages, and stops by itself when too much fails."
      actions={
        may && (
          <Button component={Link} to="/rollouts/new" leftSection={<IconPlus size={16} />}>
            New rollout
          </Button>
        )
      }
    >
      <Card flush>
        <div className="card-pad">
          <Loaded of={query} lines={6}>
            {(list) =>
              list.items.length === 0 ? (
                <Empty>No rollout yet.</Empty>
              ) : (
                <>
                  <div className="table-wrap">
                    <table className={query.isPlaceholderData ? "table table-old" : "table"}>
                      <thead>
                        <tr>
                          <th scope="col">Rollout</th>
                          <th scope="col">State</th>
                          <th scope="col">Devices</th>
                          <th scope="col" className="right">
                            Failed
                          </th>
                          <th scope="col" className="wide">
                            Started
                          </th>
                        </tr>
                      </thead>
                      <tbody>
                        {list.items.map((r) => (
                          <Row key={r.id} of={r} />
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

function Row({ of }: { of: Schemas["Rollout"] }) {
  const to = { to: "/rollouts/$id", params: { id: of.id }, hash: "devices" } as const;
  return (
    <tr>
      <td className="main">
        <Link to="/rollouts/$id" params={{ id: of.id }}>
          {of.product} {of.version}
        </Link>
        <div className="faint">to {of.group}</div>
      </td>
      <td>
        <RolloutMark of={of} />
        <div className="faint">{of.stages[of.stage]?.name}</div>
      </td>
      <td style={{ minWidth: 112 }}>
        <StatusBar thin counts={of.counts} label={`${of.product} ${of.version}`} />
        <div className="faint">
          <Link {...to} search={{ status: "succeeded" }}>
            {number(of.counts.succeeded)} succeeded
          </Link>{" "}
          of <Link {...to}>{number(of.counts.total)}</Link>
        </div>
      </td>
      <td className="right">
        <Link {...to} search={{ status: "failed" }}>
          {number(of.counts.failed)}
        </Link>
      </td>
      <td className="wide">
        <When at={of.created_at} /> <span className="faint">by {of.created_by}</span>
      </td>
    </tr>
  );
}
