import type { Schemas } from "../../api/client";
import { many } from "../../parts/format";
import { Neighbor, Neighbors } from "../../parts/Neighbor";
import { deed, nextStep, often, weight } from "../../parts/offence";
import { Card } from "../../parts/Page";
import { When } from "../../parts/When";

/** Who says what of whom. Accusations, not findings: nobody is shut out because of them. */
export function Accusations({ items }: { items: Schemas["Accusation"][] }) {
  if (items.length === 0) return null;
  return (
    <Card
      title="What devices say of each other"
      aside={`${many(items.length, "report")} of the last day, none of them proof`}
    >
      <ul className="accusations">
        {items.map((a) => (
          <li key={`${a.neighbor} ${a.kind}`}>
            <p>
              <b>
                <Neighbor id={a.neighbor} />
              </b>{" "}
              {deed(a.kind)}, {often(a.count)}, last <When at={a.last} />. {weight(a.by.length)}{" "}
              <span className="faint">
                Said by <Neighbors ids={a.by} />
              </span>
            </p>
            <p className="soft">{nextStep(a.kind)}</p>
          </li>
        ))}
      </ul>
    </Card>
  );
}
