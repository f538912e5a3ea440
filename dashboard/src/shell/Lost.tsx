import { Link } from "@tanstack/react-router";
import { Empty, Page } from "../parts/Page";

/** An address that leads nowhere. */
export function Lost() {
  return (
    <Page title="Nothing here">
      <Empty>
        This address leads nowhere. <Link to="/">Go to the overview</Link>
      </Empty>
    </Page>
  );
}
