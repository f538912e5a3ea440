import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { site } from "../../api/queries";
import { many } from "../../parts/format";
import { Loaded } from "../../parts/Loaded";
import { Page } from "../../parts/Page";
import { Accusations } from "./Accusations";
import { Concerns } from "./Concerns";
import { Exchange } from "./Exchange";
import { Members } from "./Members";
import { Picture } from "./Picture";
import { choice } from "./part";
import "./site.css";

const route = getRouteApi("/sites/$id");

/** One site: what crossed its uplink, what neighbours passed on, and which device had what from where. */
export function Site() {
  const { id } = route.useParams();
  const search = route.useSearch();
  const part = choice(search);
  const query = useQuery(site(id, part));
  const of = query.data?.site;
  return (
    <Page
      title={of?.name ?? id}
      lead={of ? <Lead of={of} /> : query.error && <Link to="/sites">All sites</Link>}
    >
      <Loaded of={query} lines={10}>
        {(d) => (
          <>
            <Picture key={d.site.id} of={d.site} />
            <Concerns of={d.site} />
            <Exchange of={d.exchange} />
            <Accusations items={d.accusations} />
            <Members of={d} part={part} old={query.isPlaceholderData} />
          </>
        )}
      </Loaded>
    </Page>
  );
}

function Lead({ of }: { of: Schemas["Site"] }) {
  return (
    <>
      {many(of.devices, "device")} {of.devices === 1 ? "uses" : "share"} one uplink; {of.online} online,{" "}
      {of.sharing} sharing. <Link to="/sites">All sites</Link>
    </>
  );
}
