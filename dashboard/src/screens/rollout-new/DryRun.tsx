import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { dryRun } from "../../api/queries";
import { many } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { reasonWords } from "../../parts/marks";
import { Card } from "../../parts/Page";
import { StageRail } from "../../parts/StageRail";
import { term } from "../../parts/selector";

/** Who would be in and who out, counted by the server with the function that devices obey. Nothing is started. */
export function DryRun({ of }: { of: Schemas["NewRollout"] | null }) {
  const query = useQuery(dryRun(of));
  return (
    <Card title="If it started now" aside="dry run">
      {of === null ? (
        <p className="soft">
          Choose a release and fill in the stages; the server then says who would take part.
        </p>
      ) : (
        <Loaded of={query} lines={5}>
          {(r) => (
            <div className={query.isPlaceholderData ? "stack table-old" : "stack"}>
              <p>
                {r.why}{" "}
                <Link to="/devices" search={{ filter: term("group", r.group) }}>
                  The group has {many(r.counts.total, "device")}.
                </Link>
              </p>
              <StageRail of={r} />
              {r.exclusions && r.exclusions.length > 0 && (
                <div>
                  <h3 className="sub">Left out</h3>
                  <ul className="sources">
                    {r.exclusions.map((e) => (
                      <li key={e.reason}>
                        <i className="dot of-excluded" aria-hidden />
                        <span>{reasonWords(e.reason)}</span>
                        <b className="num">{e.devices}</b>
                      </li>
                    ))}
                  </ul>
                </div>
              )}
            </div>
          )}
        </Loaded>
      )}
    </Card>
  );
}
