import {
  IconChevronRight,
  IconCircleCheck,
  IconClockExclamation,
  IconCpu,
  IconHandStop,
  IconHourglass,
} from "@tabler/icons-react";
import { Link } from "@tanstack/react-router";
import type { ReactNode } from "react";
import type { Schemas } from "../../api/client";
import { Card } from "../../parts/Page";

type Item = Schemas["NeedsYou"];

const icons = {
  approval: IconHourglass,
  halted: IconHandStop,
  "pending-device": IconCpu,
  expiry: IconClockExclamation,
};

/** What only a person can decide. It comes first, also when it is empty: that is good news. */
export function NeedsYou({ items }: { items: Item[] }) {
  return (
    <Card title="Waiting for you" flush>
      {items.length === 0 ? (
        <p className="needs-none">
          <IconCircleCheck size={18} aria-hidden /> Nothing waits for a person.
        </p>
      ) : (
        <ul className="needs">
          {items.map((item) => {
            const Icon = icons[item.kind];
            return (
              <li key={item.kind + item.id}>
                <Way item={item}>
                  <Icon size={18} aria-hidden />
                  <span>{item.text}</span>
                  <IconChevronRight size={16} aria-hidden />
                </Way>
              </li>
            );
          })}
        </ul>
      )}
    </Card>
  );
}

function Way({ item, children }: { item: Item; children: ReactNode }) {
  if (item.kind === "expiry") return <Link to="/tokens">{children}</Link>;
  if (item.kind !== "pending-device") {
    return (
      <Link to="/rollouts/$id" params={{ id: item.id }}>
        {children}
      </Link>
    );
  }
  if (item.id === "*") {
    return (
      <Link to="/devices" search={{ filter: "admission=pending" }}>
        {children}
      </Link>
    );
  }
  return (
    <Link to="/devices/$id" params={{ id: item.id }}>
      {children}
    </Link>
  );
}
