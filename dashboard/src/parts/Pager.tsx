import { Button } from "@mantine/core";
import { Link, useSearch } from "@tanstack/react-router";

/** Next and first page of a list that is read by cursor. The place is in the address; Back goes back. */
export function Pager({ next }: { next: string | undefined }) {
  const search = useSearch({ strict: false });
  if (!next && !search.page) return null;
  const to = (page: string | undefined) => {
    const { page: _, ...rest } = search;
    return page ? { ...rest, page } : rest;
  };
  return (
    <nav className="pager" aria-label="Pages">
      {search.page && (
        <Button component={Link} to="." search={to(undefined) as never} variant="default" size="xs">
          First page
        </Button>
      )}
      {next && (
        <Button component={Link} to="." search={to(next) as never} variant="default" size="xs">
          Next page
        </Button>
      )}
    </nav>
  );
}
