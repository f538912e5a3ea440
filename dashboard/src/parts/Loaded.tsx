import { Skeleton } from "@mantine/core";
import type { UseQueryResult } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Trouble } from "./Trouble";

/** Shows what a query brought; until then grey lines, and the reason when it failed. Old answers stay in sight. */
export function Loaded<T>({
  of,
  lines = 4,
  children,
}: {
  of: UseQueryResult<T, Error>;
  lines?: number;
  children: (data: T) => ReactNode;
}) {
  if (of.data !== undefined) {
    return (
      <>
        {of.error && <Trouble error={of.error} again={() => void of.refetch()} />}
        {children(of.data)}
      </>
    );
  }
  if (of.error) return <Trouble error={of.error} again={() => void of.refetch()} />;
  return (
    <div className="loading" aria-busy="true">
      <span className="unseen">Loading…</span>
      {Array.from({ length: lines }, (_, i) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: the lines are all alike
        <Skeleton key={i} height={16} width={`${92 - ((i * 17) % 40)}%`} />
      ))}
    </div>
  );
}
