import { Link } from "@tanstack/react-router";
import { Fragment } from "react";
import { isAddress } from "./offence";

/** Another device, as a way to it; an address is none. */
export function Neighbor({ id }: { id: string }) {
  if (isAddress(id)) return <code>{id}</code>;
  return (
    <Link to="/devices/$id" params={{ id }}>
      {id}
    </Link>
  );
}

/** Other devices with commas between them; of many the first few, and how many more. */
export function Neighbors({ ids, most = 8 }: { ids: string[]; most?: number }) {
  return (
    <>
      {ids.slice(0, most).map((id, i) => (
        <Fragment key={id}>
          {i > 0 && ", "}
          <Neighbor id={id} />
        </Fragment>
      ))}
      {ids.length > most && ` and ${ids.length - most} more`}
    </>
  );
}
