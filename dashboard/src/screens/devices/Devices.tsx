import { Button, TextInput } from "@mantine/core";
import { useDebouncedCallback } from "@mantine/hooks";
import { IconFilter, IconSearch } from "@tabler/icons-react";
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { type FormEvent, useEffect, useState } from "react";
import { devices } from "../../api/queries";
import { many } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Card, Empty, Page } from "../../parts/Page";
import { Pager } from "../../parts/Pager";
import { DeviceTable } from "./DeviceTable";
import "./devices.css";

const route = getRouteApi("/devices");

const chips = [
  { word: "All", filter: "" },
  { word: "Online", filter: "online=true" },
  { word: "Offline", filter: "online=false" },
  { word: "To accept", filter: "admission=pending" },
  { word: "Failed or went back", filter: "phase in (failed, reverted)" },
];

/** All devices. What is looked for is in the address, so that a view can be sent to somebody. */
export function Devices() {
  const { filter, search, page } = route.useSearch();
  const navigate = route.useNavigate();
  const query = useQuery(devices({ filter, search, page }));
  const seek = (next: { filter?: string; search?: string }) =>
    void navigate({ search: { ...given({ filter, search }), ...next }, replace: true });

  return (
    <Page
      title="Devices"
      lead={query.data ? matching(query.data.total, Boolean(filter || search)) : undefined}
    >
      <div className="seek">
        <fieldset className="row views" aria-label="Views">
          {chips.map((c) => (
            <Button
              key={c.word}
              size="compact-sm"
              variant={(filter ?? "") === c.filter ? "filled" : "default"}
              aria-pressed={(filter ?? "") === c.filter}
              onClick={() => seek({ filter: c.filter })}
            >
              {c.word}
            </Button>
          ))}
        </fieldset>
        <SearchBox value={search ?? ""} onSeek={(text) => seek({ search: text })} />
        <FilterBox value={filter ?? ""} onSeek={(text) => seek({ filter: text })} />
      </div>
      <Card flush>
        <div className="card-pad">
          <Loaded of={query} lines={8}>
            {(list) =>
              list.items.length === 0 ? (
                <Empty>
                  {filter || search ? (
                    "No device matches."
                  ) : (
                    <>
                      No device has enrolled yet. <Link to="/tokens">Make an enrolment token</Link>
                    </>
                  )}
                </Empty>
              ) : (
                <>
                  <DeviceTable items={list.items} old={query.isPlaceholderData} />
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

function matching(total: number, narrowed: boolean): string {
  return narrowed ? `${many(total, "device")} ${total === 1 ? "matches" : "match"}` : many(total, "device");
}

function given({ filter, search }: { filter: string | undefined; search: string | undefined }) {
  return { ...(filter ? { filter } : {}), ...(search ? { search } : {}) };
}

function SearchBox({ value, onSeek }: { value: string; onSeek: (text: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const seek = useDebouncedCallback(onSeek, 250);
  return (
    <TextInput
      aria-label="Search by id or label"
      placeholder="Search by id or label"
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

function FilterBox({ value, onSeek }: { value: string; onSeek: (text: string) => void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  const submit = (e: FormEvent) => {
    e.preventDefault();
    onSeek(text.trim());
  };
  return (
    <form onSubmit={submit}>
      <TextInput
        aria-label="Filter by selector; press Enter"
        placeholder="site=north, version!=1.1.0"
        leftSection={<IconFilter size={16} />}
        classNames={{ input: "mono" }}
        value={text}
        maxLength={1024}
        onChange={(e) => setText(e.currentTarget.value)}
        onBlur={() => text.trim() !== value && onSeek(text.trim())}
      />
    </form>
  );
}
