import { Button, NativeSelect, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconSearch } from "@tabler/icons-react";
import { getRouteApi } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import type { Schemas } from "../../api/client";
import { bytes, many, number } from "../../parts/format";
import { Card } from "../../parts/Page";
import { Pager } from "../../parts/Pager";
import { MemberTable } from "./MemberTable";
import { kinds, orders, type Part } from "./part";

const route = getRouteApi("/sites/$id");

/** The devices of a site. Which of them, in which order, is in the address. */
export function Members({ of, part, old }: { of: Schemas["SiteDetail"]; part: Part; old: boolean }) {
  const { bars } = route.useSearch();
  const navigate = route.useNavigate();
  const reused = bars !== "moved";
  const seek = (next: { search?: string; show?: string; order?: string; bars?: string }) =>
    void navigate({
      search: ({ page: _, ...now }) => ({ ...now, ...next }),
      replace: true,
      resetScroll: false,
    });
  return (
    <Card title="Devices" aside={many(of.total, "device")} id="devices" flush>
      <div className="site-seek">
        <fieldset className="row views" aria-label="Which devices">
          {kinds.map((k) => {
            const n = k.count(of.site);
            const here = part.show === k.show;
            if (n === 0 && !here && k.show) return null;
            return (
              <Button
                key={k.word}
                size="compact-sm"
                variant={here ? "filled" : "default"}
                aria-pressed={here}
                onClick={() => seek({ show: k.show ?? "" })}
              >
                {k.word} <span className="chip-count">{number(n)}</span>
              </Button>
            );
          })}
        </fieldset>
        <SearchBox value={part.search ?? ""} onSeek={(text) => seek({ search: text })} />
        <NativeSelect
          aria-label="Order"
          data={orders}
          value={part.order ?? "id"}
          onChange={(e) => seek({ order: e.currentTarget.value === "id" ? "" : e.currentTarget.value })}
        />
        <NativeSelect
          aria-label="Bars show"
          data={[
            { value: "", label: "Bars: with what was reused" },
            { value: "moved", label: "Bars: what moved" },
          ]}
          value={reused ? "" : "moved"}
          onChange={(e) => seek({ bars: e.currentTarget.value })}
        />
      </div>
      <Key reused={reused} most={reused ? of.most.all : of.most.moved} />
      {of.devices.length === 0 ? (
        <p className="empty">No device is like that just now.</p>
      ) : (
        <>
          <MemberTable of={of} reused={reused} old={old} />
          <Pager next={of.next_page_token} />
        </>
      )}
    </Card>
  );
}

/** What the colours of the bars mean, and how much a full bar is. */
function Key({ reused, most }: { reused: boolean; most: number }) {
  if (most === 0) return null;
  return (
    <ul className="legend site-key">
      <li className="legend-item">
        <i className="dot of-origin" aria-hidden /> from the server
      </li>
      <li className="legend-item">
        <i className="dot of-peers" aria-hidden /> from neighbours
      </li>
      {reused && (
        <li className="legend-item">
          <i className="dot of-reused" aria-hidden /> reused from its own slot
        </li>
      )}
      <li className="legend-item faint">A full bar is {bytes(most)}.</li>
    </ul>
  );
}

function SearchBox({ value, onSeek }: { value: string; onSeek: (text: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const seek = useDebouncedCallback(onSeek, 250);
  return (
    <TextInput
      aria-label="Search by name"
      placeholder="Search by name"
      leftSection={<IconSearch size={16} />}
      value={text}
      maxLength={64}
      onChange={(e) => {
        setText(e.currentTarget.value);
        seek(e.currentTarget.value.trim());
      }}
    />
  );
}
