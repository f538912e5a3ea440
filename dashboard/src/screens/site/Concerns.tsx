import { Link } from "@tanstack/react-router";
import type { Schemas } from "../../api/client";
import { Concern } from "../../parts/Concern";
import { many } from "../../parts/format";

/** What keeps the site from sharing, each with the next step. */
export function Concerns({ of }: { of: Schemas["Site"] }) {
  return (
    <>
      {of.crowded && (
        <Concern head="Too many devices seem to be at this site, so none is introduced to another.">
          A load balancer may hide their addresses. Give devices the label <code>site</code>, or start the
          server with <code>--sites label</code>.
        </Concern>
      )}
      {of.isolated > 0 && (
        <Concern
          head={
            <>
              <Link to="/sites/$id" params={{ id: of.id }} search={{ show: "isolated" }} hash="devices">
                {many(of.isolated, "device")}
              </Link>{" "}
              could not reach another one lately, so the uplink carried again what that one holds.
            </>
          }
        >
          Let the devices of the site talk to each other over TCP: look for client isolation of the access
          point, separate VLANs, and firewalls.
        </Concern>
      )}
    </>
  );
}
